"""headrace.toml: what an operator says of a model, beside its files or above its numbered versions.

task = "embed"              # the model's encoder without its head
precision = "int8"          # unless the command line says otherwise
aliases = ["prod"]          # other names that it answers to
pinned = true               # stays in memory, whatever the engine's memory budget

runtime = "python"          # what runs it, where it is not one of headrace's own
function = "model.py:Model" # of python: a file of this folder, and a function or class in it
model = "model.onnx"        # of others: the file, where the folder holds several
trusted = true              # of runtimes whose files are code: that you know where this is from
compile = "before"          # of torch.export programs: before it is ready; "background" or "never"
labels = ["cat", "dog"]     # what the places of its output stand for
licence = "Apache-2.0"

[inputs.ids]                # of those: what is to be said of an input beyond its file; all of it where that says none
dtype = "int64"
shape = ["?"]               # of one item
high = 30521                # and low, nan: see docs/predict.md
pad = 0                     # shorter items of a batch are filled up with it

[outputs]                   # the outputs that are given, in this order
logits = "float32[2]"

[batch]                     # of those: how it wants its batches
max_batch = 32
max_wait = 0.002
workers = 2

[drift]                     # what is compared with what, to tell that inputs or outputs change (docs/operations.md)
reference = "traffic"       # the first texts that come, or "golden": the gate's inputs
texts = 1000                # of the reference
window = 1000               # the latest texts; 0: nothing is compared

[gate]                      # what a version must show before it gets any request
golden = "golden.json"      # made by `headrace golden`
min_cosine = 0.995          # of each vector with the one that is expected; for embed
min_agreement = 1.0         # share of the inputs with the expected answer; for other tasks
max_difference = 1e-5       # of any number from the one that is expected; for predict
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from .drift import DriftOptions
from .errors import CorruptFileError, InvalidArgumentError
from .predict.function import BatchOptions
from .settings import parse_toml, read_toml

NAME = "headrace.toml"
_KNOWN: dict[str, type] = {
    "task": str, "precision": str, "aliases": list, "gate": dict, "pinned": bool,
    "runtime": str, "function": str, "model": str, "trusted": bool, "compile": str,
    "batch": dict, "labels": list, "licence": str, "drift": dict,
    "inputs": dict, "outputs": dict,
}  # fmt: skip
_BATCH: dict[str, type] = {
    "max_batch": int, "max_wait": float, "concurrency": int, "workers": int, "time_limit": float,
}  # fmt: skip
T = TypeVar("T")


@dataclass(frozen=True)
class Gate:
    """What must hold; `golden` is a file, with its contents as `data` where it is sealed with the model."""

    golden: Path
    min_cosine: float = 0.995
    min_agreement: float = 1.0
    max_difference: float = 1e-5
    data: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Manifest:
    """Everything is optional."""

    task: str | None = None
    precision: str | None = None
    aliases: tuple[str, ...] = field(default=())
    gate: Gate | None = None
    drift: DriftOptions = field(default_factory=DriftOptions)
    runtime: str | None = None
    function: str | None = None
    model: str | None = None
    trusted: bool = False
    compile: str | None = None
    batch: BatchOptions | None = None
    pinned: bool = False
    batch_names: frozenset[str] = frozenset()  # the options of `batch` that are said
    labels: tuple[str, ...] = ()
    licence: str | None = None
    inputs: dict[str, Any] = field(default_factory=dict, hash=False)
    outputs: dict[str, Any] = field(default_factory=dict, hash=False)


def read_manifest(directory: Path) -> Manifest:
    """That of a model's directory, or else of the directory of its versions; an empty one where there is none.

    A sealed model's own is the one that was sealed with it; what lies open beside the sealed files is not looked at
    then.

    Raises CorruptFileError for one that says what is not known or has another type, and what opening a sealed model
    raises.
    """
    sealed = _sealed_file(directory, NAME)
    folders = [directory]
    if directory.name.isascii() and directory.name.isdigit():
        folders.append(directory.parent)
    path = next((folder / NAME for folder in folders if (folder / NAME).is_file()), None)
    if sealed is not None:
        path = directory / NAME
    if path is None:
        return Manifest()
    try:
        given = read_toml(path) if sealed is None else parse_toml(sealed.decode(), path)
    except (InvalidArgumentError, UnicodeDecodeError) as error:
        raise CorruptFileError(str(error)) from None
    values = _checked(path, given, _KNOWN)
    for name in ("aliases", "labels"):
        values[name] = tuple(values.get(name, ()))
        if not all(isinstance(each, str) for each in values[name]):
            raise CorruptFileError(f"{path}: {name} must be a list of names")
    for name in ("inputs", "outputs"):
        if not all(isinstance(spec, (str, dict)) for spec in values.get(name, {}).values()):
            raise CorruptFileError(
                f"{path}: each of {name} must be a text such as 'float32[3, ?]' or a table with dtype, shape and so on"
            )
    gate = values.pop("gate", None)
    if gate is not None:
        limits = _checked(
            path,
            gate,
            {"golden": str, "min_cosine": float, "min_agreement": float, "max_difference": float},
        )
        if "golden" not in limits:
            raise CorruptFileError(f"{path}: the gate needs golden, a file made by `headrace golden`")
        for name in ("min_cosine", "min_agreement"):
            if not 0 <= limits.get(name, 1) <= 1:
                raise CorruptFileError(f"{path}: gate.{name} must be between 0 and 1")
        if not limits.get("max_difference", 0) >= 0:
            raise CorruptFileError(f"{path}: gate.max_difference must be at least 0")
        golden = (path.parent / limits.pop("golden")).resolve()
        if path.parent.resolve() not in golden.parents:
            raise CorruptFileError(f"{path}: gate.golden must lie in the manifest's own folder")
        data = None
        if sealed is not None:
            name = golden.relative_to(path.parent.resolve()).as_posix()
            data = _sealed_file(directory, name)
            if data is None:
                raise CorruptFileError(f"{path}: gate.golden: {name} was not sealed with the model")
        gate = Gate(golden, **limits, data=data)
    if (drift := values.get("drift")) is not None:
        values["drift"] = _options(
            DriftOptions, path, "drift", drift, {"reference": str, "texts": int, "window": int}
        )
    if (batch := values.pop("batch", None)) is not None:
        values["batch"] = _options(BatchOptions, path, "batch", batch, _BATCH)
        values["batch_names"] = frozenset(batch)
    return Manifest(**values, gate=gate)


def _sealed_file(directory: Path, name: str) -> bytes | None:
    """A file of a sealed model; None where the model is not sealed or has no such file."""
    from .repository import is_sealed, small_file

    return small_file(directory, name) if is_sealed(directory) else None


def _options(kind: type[T], path: Path, name: str, given: dict[str, Any], kinds: dict[str, type]) -> T:
    """A table of headrace.toml as the dataclass that checks it."""
    try:
        return kind(**_checked(path, given, kinds))
    except InvalidArgumentError as error:
        raise CorruptFileError(f"{path}: {name}: {error}") from None


def _checked(path: Path, given: dict[str, Any], kinds: dict[str, type]) -> dict[str, Any]:
    for name, value in given.items():
        kind = kinds.get(name)
        if kind is None:
            raise CorruptFileError(f"{path}: {name!r} is not known: known are {', '.join(kinds)}")
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind):
            raise CorruptFileError(f"{path}: {name}={value!r} must be a {kind.__name__}")
    return dict(given)
