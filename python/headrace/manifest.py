"""headrace.toml: what an operator says of a model, beside its files or above its numbered versions.

task = "embed"              # the model's encoder without its head
precision = "int8"          # unless the command line says otherwise
aliases = ["prod"]          # other names that it answers to
pinned = true               # stays in memory, whatever the engine's memory budget

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
from .settings import read_toml

NAME = "headrace.toml"


@dataclass(frozen=True)
class Gate:
    """What must hold; `golden` is a file."""

    golden: Path
    min_cosine: float = 0.995
    min_agreement: float = 1.0


@dataclass(frozen=True)
class Manifest:
    """Everything is optional."""

    task: str | None = None
    precision: str | None = None
    aliases: tuple[str, ...] = field(default=())
    gate: Gate | None = None
    pinned: bool = False


def read_manifest(directory: Path) -> Manifest:
    """That of a model's directory, or else of the directory of its versions; an empty one where there is none.

    Raises CorruptFileError for one that says what is not known or has another type.
    """
    folders = [directory]
    if directory.name.isascii() and directory.name.isdigit():
        folders.append(directory.parent)
    path = next((folder / NAME for folder in folders if (folder / NAME).is_file()), None)
    if path is None:
        return Manifest()
    try:
        given = read_toml(path)
    except InvalidArgumentError as error:
        raise CorruptFileError(str(error)) from None
    values = _checked(
        path, given, {"task": str, "precision": str, "aliases": list, "gate": dict, "pinned": bool}
    )
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
        gate = Gate(golden, **limits)
    return Manifest(**values, aliases=tuple(aliases), gate=gate)


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
