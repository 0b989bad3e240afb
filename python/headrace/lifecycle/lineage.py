"""training.json: what a model was made of, so that it can be made again: data, code, base model, numbers, versions."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CorruptFileError
from . import unpacking
from .inspection import Inspected, file_hash

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = "training.json"
ROWS = "splits.npz"
COMPRESSION = "compression.json"
_PACKAGES = ("numpy", "torch", "transformers", "tokenizers", "safetensors", "peft", "scikit-learn", "pyarrow")


def versions() -> dict[str, str]:
    """What computed: Python, headrace and the libraries that are installed."""
    from .. import __version__

    found = {"python": platform.python_version(), "headrace": __version__}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def code_hash() -> str:
    """SHA-256 over the sources that train, which a version number alone does not tell apart."""
    total = hashlib.sha256()
    folder = Path(__file__).parent
    for path in sorted(folder.rglob("*.py")):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def base_hash(folder: Path) -> str:
    """SHA-256 of the base model's files but those of others' making (documentation, other formats); of an unpacked GGUF
    that of the GGUF itself."""
    source = unpacking.source_of(folder)
    if source is not None:
        return str(source["sha256"])
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in (".json", ".safetensors", ".bin", ".txt", ".model"):
            total.update(path.name.encode() + b"\0" + file_hash(path).encode())
    return total.hexdigest()


def fingerprint(parts: Mapping[str, Any]) -> str:
    """One hash of what makes two trainings the same."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def describe(data: Mapping[str, Inspected]) -> dict[str, dict[str, Any]]:
    """The files by their part: name, hash, rows, columns, and what was wrong."""
    return {
        part: {
            "file": found.path.name,
            "sha256": found.report.sha256,
            "rows": found.report.rows,
            "kept": found.report.kept,
            "columns": found.report.columns,
            "labels": found.report.labels,
            "problems": {problem.code: problem.count for problem in found.report.problems},
        }
        for part, found in data.items()
    }


def write(out: Path, values: Mapping[str, Any], name: str = NAME) -> None:
    """Writes the record, with the time and the versions."""
    record = {
        **values,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "code": {"sha256": code_hash()},
        "versions": versions(),
        "machine": {"system": platform.system(), "processor": platform.machine()},
    }
    (out / name).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_rows(out: Path, data: Mapping[str, Inspected], places: Mapping[str, NDArray[Any]]) -> None:
    """Which rows of the file to train on are in which part, by their numbers there."""
    train = data["train"]
    own = [part for part in places if part == "train" or part not in data]
    np.savez_compressed(out / ROWS, **{part: train.rows[places[part]] for part in own})


def read(folder: Path) -> dict[str, Any] | None:
    """The record of a folder; None where there is none. Raises CorruptFileError."""
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorruptFileError(f"{path}: not JSON: {error}") from None
    if not isinstance(found, dict):
        raise CorruptFileError(f"{path}: not a record of a training")
    return found
