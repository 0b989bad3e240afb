"""headrace.toml: what an operator says of a model, beside its files or above its numbered versions.

task = "embed"              # the model's encoder without its head
precision = "int8"          # unless the command line says otherwise
aliases = ["prod"]          # other names that it answers to
pinned = true               # stays in memory, whatever the engine's memory budget

runtime = "python"          # what runs it, where it is not one of headrace's own
function = "model.py:Model" # of python: a file of this folder, and a function or class in it
trusted = true              # of runtimes whose files are code: that you know where this is from

[batch]                     # of those: how it wants its batches
max_batch = 32
max_wait = 0.002
workers = 2

[gate]                      # what a version must show before it gets any request
golden = "golden.json"      # made by `headrace golden`
min_cosine = 0.995          # of each vector with the one that is expected; for embed
min_agreement = 1.0         # share of the inputs with the expected answer; for other tasks
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import CorruptFileError, InvalidArgumentError
from .predict.function import BatchOptions
from .settings import parse_toml, read_toml

NAME = "headrace.toml"
_KNOWN: dict[str, type] = {
    "task": str, "precision": str, "aliases": list, "gate": dict, "pinned": bool,
    "runtime": str, "function": str, "trusted": bool, "batch": dict,
}  # fmt: skip


@dataclass(frozen=True)
class Gate:
    """What must hold; `golden` is a file, with its contents as `data` where it is sealed with the model."""

    golden: Path
    min_cosine: float = 0.995
    min_agreement: float = 1.0
    data: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Manifest:
    """Everything is optional."""

    task: str | None = None
    precision: str | None = None
    aliases: tuple[str, ...] = field(default=())
    gate: Gate | None = None
    runtime: str | None = None
    function: str | None = None
    trusted: bool = False
    batch: BatchOptions | None = None
    pinned: bool = False


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
    aliases = values.pop("aliases", [])
    if not all(isinstance(alias, str) for alias in aliases):
        raise CorruptFileError(f"{path}: aliases must be a list of names")
    gate = values.pop("gate", None)
    if gate is not None:
        limits = _checked(path, gate, {"golden": str, "min_cosine": float, "min_agreement": float})
        if "golden" not in limits:
            raise CorruptFileError(f"{path}: the gate needs golden, a file made by `headrace golden`")
        for name in ("min_cosine", "min_agreement"):
            if not 0 <= limits.get(name, 1) <= 1:
                raise CorruptFileError(f"{path}: gate.{name} must be between 0 and 1")
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
    if (batch := values.pop("batch", None)) is not None:
        values["batch"] = _batch(path, batch)
    return Manifest(**values, aliases=tuple(aliases), gate=gate)


def _sealed_file(directory: Path, name: str) -> bytes | None:
    """A file of a sealed model; None where the model is not sealed or has no such file."""
    from .repository import is_sealed, small_file

    return small_file(directory, name) if is_sealed(directory) else None


def _batch(path: Path, given: dict[str, Any]) -> BatchOptions:
    values = _checked(
        path,
        given,
        {"max_batch": int, "max_wait": float, "concurrency": int, "workers": int, "time_limit": float},
    )
    try:
        return BatchOptions(**values)
    except InvalidArgumentError as error:
        raise CorruptFileError(f"{path}: batch: {error}") from None


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
