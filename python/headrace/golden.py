"""Golden answers: inputs with the answers that a model gave when it was good, and whether another still gives them.

{"task": "embed", "inputs": ["..."], "answers": [[0.1, ...]]}: vectors for embed, the first label for classify, labels
with their places for tag, the greedy text for generate, what it answers to each item for predict.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import CorruptFileError, InvalidArgumentError

if TYPE_CHECKING:
    from .loaded_model import Model
    from .manifest import Gate

TASKS = ("embed", "classify", "tag", "generate", "predict")
_MAX_BYTES = 64 << 20
_MAX_INPUTS = 2048
_GENERATED_TOKENS = 32
_HELP = """\
examples:
  headrace golden models/e5-small/1 --file questions.txt --out models/e5-small/golden.json
then, in models/e5-small/headrace.toml:
  [gate]
  golden = "golden.json"
  min_cosine = 0.995
(an item of JSON a line for models of tensors and functions, with max_difference = 1e-5)
and no further version gets a request before its answers are as near to these.
"""


def answers(model: Model, inputs: list[Any]) -> list[Any]:
    """What the model says to each input, as the file has it. InvalidArgumentError for a task that has no such form."""
    task = model.info.task
    if task == "embed":
        return [[round(float(value), 6) for value in row] for row in model.embed(inputs)]
    if task == "classify":
        return [labels[0].label for labels in model.classify(inputs)]
    if task == "tag":
        return [[[entity.label, entity.start, entity.end] for entity in found] for found in model.tag(inputs)]
    if task == "generate":
        return [model.generate(text, temperature=0, max_tokens=_GENERATED_TOKENS).text for text in inputs]
    if task == "predict":
        return [_plain(found) for found in model.predict_many(inputs)]
    raise InvalidArgumentError(f"golden answers are for {', '.join(TASKS)}, and this model's task is {task}")


def _plain(value: Any) -> Any:
    """As JSON has it, with every digit of a number."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value.tolist() if hasattr(value, "tolist") else value


def record(model: Model, inputs: list[Any], path: Path) -> None:
    """Writes the model's answers as the golden ones."""
    if not 1 <= len(inputs) <= _MAX_INPUTS:
        raise InvalidArgumentError(f"{len(inputs)} inputs: must be 1 to {_MAX_INPUTS}")
    rows = {"task": model.info.task, "inputs": inputs, "answers": answers(model, inputs)}
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")


def check(model: Model, gate: Gate) -> None:
    """InvalidArgumentError, which says how far it is from it, for a model that does not pass the gate.

    CorruptFileError for a file of golden answers that cannot be used.
    """
    golden = _read(gate.golden, gate.data)
    if golden["task"] != model.info.task:
        raise CorruptFileError(
            f"{gate.golden.name}: golden answers for {golden['task']}, and the model's task is {model.info.task}"
        )
    given = answers(model, golden["inputs"])
    if model.info.task == "embed":
        _check_vectors(given, golden["answers"], gate)
        return
    if model.info.task == "predict":
        _check_numbers(given, golden["answers"], gate)
        return
    agreeing = sum(one == other for one, other in zip(given, golden["answers"], strict=True))
    share = agreeing / len(given)
    if share < gate.min_agreement:
        first = next(
            i for i, (one, other) in enumerate(zip(given, golden["answers"], strict=True)) if one != other
        )
        raise InvalidArgumentError(
            f"the gate refuses this model: {agreeing} of {len(given)} golden answers are given again, and at least "
            f"{gate.min_agreement:.1%} must be; the first other one is for input {first}"
        )


def count(gate: Gate) -> int:
    """How many inputs the gate's file has; CorruptFileError as `check`."""
    return len(_read(gate.golden, gate.data)["inputs"])


def _check_numbers(given: list[Any], expected: list[Any], gate: Gate) -> None:
    for i, (one, other) in enumerate(zip(given, expected, strict=True)):
        apart = _difference(one, other)
        if not apart <= gate.max_difference:
            raise InvalidArgumentError(
                f"the gate refuses this model: its answer to input {i} differs from the golden one by {apart:.2e} of "
                f"max(1, value), and must by at most {gate.max_difference:g}"
            )


def _difference(one: Any, other: Any) -> float:
    """The largest of the numbers' differences; infinity where anything else differs."""
    from .packing.examples import difference

    if isinstance(one, dict) and isinstance(other, dict):
        if set(one) != set(other):
            return float("inf")
        return max((_difference(one[name], other[name]) for name in one), default=0.0)
    try:
        return difference(one, other)
    except ValueError:  # lists of different lengths in one list
        return 0.0 if one == other else float("inf")


def _check_vectors(given: list[Any], expected: list[Any], gate: Gate) -> None:
    import numpy as np

    try:
        one, other = np.asarray(given, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    except ValueError:
        raise CorruptFileError(f"{gate.golden.name}: answers must be vectors of one length") from None
    if one.shape != other.shape:
        raise InvalidArgumentError(
            f"the gate refuses this model: its vectors have {one.shape[1]} numbers, the golden ones {other.shape[-1]}"
        )
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosines = (one * other).sum(axis=1) / np.maximum(lengths, 1e-12)
    worst = int(cosines.argmin())
    if not cosines[worst] >= gate.min_cosine:
        raise InvalidArgumentError(
            f"the gate refuses this model: the cosine of its vector for input {worst} with the golden one is "
            f"{cosines[worst]:.4f}, and must be at least {gate.min_cosine:g}"
        )


def _read(path: Path, data: bytes | None = None) -> dict[str, Any]:
    """`data`: what is in it, where it is not read from `path`."""
    try:
        if (path.stat().st_size if data is None else len(data)) > _MAX_BYTES:
            raise CorruptFileError(f"{path.name}: larger than {_MAX_BYTES >> 20} MiB")
        found = json.loads(path.read_bytes() if data is None else data)
    except OSError as error:
        raise CorruptFileError(f"{path.name}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise CorruptFileError(f"{path.name}: not JSON: {error}") from None
    is_right = (
        isinstance(found, dict)
        and found.get("task") in TASKS
        and isinstance(inputs := found.get("inputs"), list)
        and isinstance(rows := found.get("answers"), list)
        and 1 <= len(inputs) == len(rows) <= _MAX_INPUTS
        and (found["task"] == "predict" or all(isinstance(text, str) for text in inputs))
    )
    if not is_right:
        raise CorruptFileError(
            f"{path.name}: must have a task, inputs and an answer for each; `headrace golden` makes one"
        )
    return dict(found)


def _item(i: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"line {i + 1}: {error}: must be an item, as JSON") from None


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the command; `command(name, run, text, epilog)` makes its parser."""
    golden = command(
        "golden", _golden, "Record answers that later versions of a model must give again.", _HELP
    )
    golden.add_argument("model", metavar="MODEL", help="folder, .gguf file or demo model")
    golden.add_argument("--file", required=True, help="an input a line; - reads standard input")
    golden.add_argument("--out", required=True, metavar="FILE", help="the file to write")
    golden.add_argument("--precision", default="f32", help="(default %(default)s, the most exact)")


def _golden(options: argparse.Namespace) -> int:
    from .engine import load

    if options.file == "-":
        lines = sys.stdin.read().splitlines()
    else:
        lines = Path(options.file).read_text(encoding="utf-8").splitlines()
    inputs: list[Any] = [line for line in lines if line.strip()]
    with load(options.model, precision=options.precision) as model:
        if model.info.task == "predict":
            inputs = [_item(i, line) for i, line in enumerate(inputs)]
        record(model, inputs, Path(options.out))
        print(f"{options.out}: the answers of {model.name} to {len(inputs)} inputs")
    return 0
