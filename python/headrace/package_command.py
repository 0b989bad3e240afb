"""`headrace package`: a trained model of another framework as a folder that is served."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import InvalidArgumentError, UnsupportedError

_HELP = """\
examples:
  headrace package churn.py:pipeline -o models/churn --example rows.json
  headrace package net.py:Net -o models/net --example batch.npz --output score --licence MIT
  headrace package text.py:model -o models/text --example ids.npz --input 'ids=int64[?]' --pad ids=0 --range ids=0:30521
  headrace package export.onnx -o models/export --example batch.npz
  headrace package digits.keras -o models/digits --example batch.npy --trust      reading it may run code
then:
  headrace serve models/churn
MODEL is an .onnx file; FILE.py:NAME, a torch.nn.Module, Keras model or scikit-learn estimator, or a function or class
that makes one; or, with --trust, a file of Keras, skops, joblib or pickle. Examples are .npz, .npy or .json files:
arrays with a row for each item, by the inputs' names. The folder is made only if it answers as the framework does.
"""


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the command; `command(name, run, text, epilog)` makes its parser."""
    package = command("package", _run, "Make a servable folder of a trained model.", _HELP)
    package.add_argument("model", metavar="MODEL", help="FILE.py:NAME, an .onnx file, or a file with --trust")
    package.add_argument("-o", "--out", required=True, metavar="DIR", help="the folder to make")
    package.add_argument(
        "--example", required=True, metavar="FILE", help="example inputs: .npz, .npy or .json"
    )
    package.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME=SPEC",
        help="such as ids=int64[?], ? being any size",
    )
    package.add_argument(
        "--range",
        action="append",
        default=[],
        metavar="NAME=LOW:HIGH",
        help="the numbers that an input may hold",
    )
    package.add_argument(
        "--pad",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="fill shorter items of a batch up with it",
    )
    package.add_argument(
        "--output", action="append", default=[], metavar="NAME", help="an output's name, in order"
    )
    package.add_argument(
        "--label", action="append", default=[], help="what a place of the output stands for, in order"
    )
    package.add_argument("--runtime", choices=["onnx", "torch", "sklearn"], help="that one or none")
    package.add_argument("--name", help="in the model card (default: the folder's)")
    package.add_argument("--licence", help="such as Apache-2.0")
    package.add_argument("--description", help="what it is for, in the model card")
    package.add_argument("--max-batch", type=int, help="items that run together at most")
    package.add_argument(
        "--tolerance", type=float, default=1e-5, help="largest difference of an answer (default %(default)s)"
    )
    package.add_argument("--trust", action="store_true", help="MODEL may run code when it is read")
    package.add_argument("--json", action="store_true")


def _run(options: argparse.Namespace) -> int:
    from .packing.examples import read_file
    from .packing.package import package

    made = package(
        _model(options.model, options.trust),
        options.out,
        example_inputs=read_file(Path(options.example).expanduser()),
        inputs=_inputs(options),
        outputs=options.output,
        runtime=options.runtime,
        name=options.name,
        labels=options.label,
        licence=options.licence,
        description=options.description,
        batch=None if options.max_batch is None else {"max_batch": options.max_batch},
        tolerance=options.tolerance,
    )
    if options.json:
        print(json.dumps({**dataclasses.asdict(made), "directory": os.fspath(made.directory)}))
        return 0
    for note in made.notes:
        print(note)
    print(
        f"{options.out}: runs in {made.runtime}; its answers differ from the framework's by at most "
        f"{made.max_difference:.1e}\nheadrace serve {options.out}"
    )
    return 0


def _pair(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise InvalidArgumentError(f"{option} {text}: must be NAME=VALUE")
    return name, value


def _number(option: str, text: str) -> float | None:
    if text in ("", "any"):
        return None
    try:
        return int(text) if text.lstrip("-").isdigit() else float(text)
    except ValueError:
        raise InvalidArgumentError(f"{option}: {text!r} is no number") from None


def _inputs(options: argparse.Namespace) -> dict[str, Any]:
    from .predict.signature import TensorSpec

    found: dict[str, dict[str, Any]] = {}
    for text in options.input:
        name, value = _pair("--input", text)
        spec = TensorSpec.parse(name, value)
        found[name] = {"dtype": spec.dtype, "shape": list(spec.shape)}
    for text in options.range:
        name, value = _pair("--range", text)
        low, colon, high = value.partition(":")
        if not colon:
            raise InvalidArgumentError(f"--range {text}: must be NAME=LOW:HIGH")
        found.setdefault(name, {}).update(low=_number("--range", low), high=_number("--range", high))
    for text in options.pad:
        name, value = _pair("--pad", text)
        found.setdefault(name, {})["pad"] = _number("--pad", value)
    return found


def _model(text: str, trusted: bool) -> Any:
    """What is to be packaged. UnsupportedError (not_trusted) for a file that may run code, unless it is trusted."""
    from .repository import is_function

    if is_function(text):
        file, _, name = text.rpartition(":")
        return _object(file, name)
    path = Path(text).expanduser()
    if not path.is_file():
        raise InvalidArgumentError(f"{text}: no such file; give FILE.py:NAME or a model's file")
    if path.suffix == ".onnx":
        return path
    if not trusted:
        error = UnsupportedError(
            f"{text}: reading a file of this kind may run code; if you know where it is from, say --trust"
        )
        error.code = "not_trusted"
        raise error
    if path.suffix in (".keras", ".h5"):
        import keras

        return keras.models.load_model(path, compile=False)
    from .predict.sklearn import SUFFIXES, Estimator

    if path.suffix in SUFFIXES:
        return Estimator(os.fspath(path), []).estimator
    raise UnsupportedError(f"{text}: known are .onnx, .keras, .h5, {', '.join(SUFFIXES)} and FILE.py:NAME")


def _object(file: str, name: str) -> Any:
    """An object of a Python file; a function or class that makes one is called."""
    import inspect

    from .errors import ModelNotFoundError
    from .predict.worker import load_file

    path = Path(file).expanduser().resolve()
    if not path.is_file():
        raise ModelNotFoundError(f"{file}: no such file")
    found: Any = load_file(os.fspath(path), "headrace_packaged_model")
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise ModelNotFoundError(f"{file}: it has nothing named {name!r}")
    return found() if inspect.isclass(found) or inspect.isfunction(found) else found
