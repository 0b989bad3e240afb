"""Labelled pictures: a folder of class folders, or a file with the columns path and label."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Error, InvalidArgumentError
from .cells import as_label, is_missing
from .columns import find_columns
from .data import read_blocks
from .inspection import Inspected, check_classes, file_hash, natural
from .problems import DataReport, Problem
from .scan import DataSettings, unknown_label

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif")


@dataclass
class Pictures(Inspected):
    """Files of pictures with classes; `sizes` int [rows, 2]: width and height."""

    paths: list[Path] = field(default_factory=list)
    sizes: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))

    def pixels(self, places: NDArray[Any], size: int) -> NDArray[np.uint8]:
        """uint8 [rows, size, size, 3]: decoded and resized, whatever their shape was."""
        from .. import pictures
        from .._core import available_cpus

        def one(place: int) -> Any:
            return pictures.resize(pictures.decode(self.paths[place]), (size, size))

        if not len(places):
            return np.empty((0, size, size, 3), np.uint8)
        with ThreadPoolExecutor(available_cpus()) as pool:
            return np.stack(list(pool.map(one, places.tolist())))


def read_pictures(
    path: str | Path,
    settings: DataSettings,
    *,
    names: Sequence[str] | None = None,
    is_evaluation: bool = False,
) -> Pictures:
    """Every picture's header is read; what is none, or repeats another's bytes, is told and dropped.

    names: the classes that a model knows. Raises InvalidArgumentError for a missing column or a folder without classes.
    """
    path = Path(path)
    columns, listed = _folder(path) if path.is_dir() else _file(path, settings)
    problems: dict[str, Problem] = {}

    def tell(code: str, message: str, action: str = "dropped") -> Problem:
        return problems.setdefault(code, Problem(code, message, action))

    first: dict[bytes, tuple[int, str]] = {}
    kept: list[tuple[int, Path, str, bytes, tuple[int, int]]] = []
    for row, file, label in listed:
        if label is None:
            tell("missing_label", "no label").add(row)
            continue
        try:
            data = file.read_bytes()
            size = _size(data)
        except (OSError, Error) as error:
            tell("unreadable", "no picture that can be read").add(row, None, f"{file.name}: {error}"[:120])
            continue
        if names is not None and label not in names:
            tell(*unknown_label()).add(row, None, repr(label))
            continue
        mark = hashlib.blake2b(data, digest_size=8).digest()
        earlier, before = first.setdefault(mark, (row, label))
        if earlier != row:
            same = before == label
            action = "kept" if is_evaluation or settings.keep_duplicates else "dropped"
            message = "the same picture as an earlier one" if same else "the same picture with another label"
            tell("duplicate" if same else "conflict", message, action).add(
                row, None, f"rows {earlier} and {row}"
            )
            if action == "dropped":
                continue
        kept.append((row, file, label, mark, size))
    known = list(names) if names is not None else sorted({label for _, _, label, _, _ in kept}, key=natural)
    labels = np.array([known.index(label) for _, _, label, _, _ in kept], np.int64)
    counts = np.bincount(labels, minlength=len(known)).tolist()
    report = DataReport(
        str(path), "image", columns, len(listed), len(kept), dict(zip(known, counts, strict=True)),
        problems=list(problems.values()), sha256=file_hash(path),
    )  # fmt: skip
    if not kept:
        report.problems.append(Problem("no_rows", f"no picture is left of {len(listed)}", "error"))
    elif not is_evaluation:
        check_classes(report)
    return Pictures(
        path=path,
        report=report,
        names=known,
        rows=np.array([row for row, *_ in kept], np.int64),
        labels=labels,
        hashes=np.array([int.from_bytes(mark, "little") for *_, mark, _ in kept], np.uint64),
        groups=None,
        times=None,
        settings=settings,
        paths=[file for _, file, *_ in kept],
        sizes=np.array([size for *_, size in kept], np.int64).reshape(-1, 2),
    )


def _size(data: bytes) -> tuple[int, int]:
    from ..pictures import read_header

    header = read_header(data)
    return header.width, header.height


def _folder(path: Path) -> tuple[dict[str, str], list[tuple[int, Path, str | None]]]:
    classes = sorted(one for one in path.iterdir() if one.is_dir() and not one.name.startswith("."))
    files = [
        (file, one.name)
        for one in classes
        for file in sorted(one.rglob("*"))
        if file.suffix.lower() in SUFFIXES
    ]
    if not files:
        raise InvalidArgumentError(
            f"{path}: no pictures ({', '.join(SUFFIXES)}) in folders named as their class; or give a CSV with the "
            "columns path and label"
        )
    return {"label": "folder"}, [(row, file, name) for row, (file, name) in enumerate(files, 1)]


def _file(path: Path, settings: DataSettings) -> tuple[dict[str, str], list[tuple[int, Path, str | None]]]:
    columns: dict[str, str] = {}
    found: list[tuple[int, Path, str | None]] = []
    for block in read_blocks(path, encoding=settings.encoding, delimiter=settings.delimiter):
        columns = columns or find_columns("image", block.columns, settings.columns, path=path.name)
        for i in range(len(block)):
            file, label = block.columns[columns["path"]][i], block.columns[columns["label"]][i]
            is_row = (
                block.first_row + i not in block.broken and not is_missing(file) and not is_missing(label)
            )
            told = as_label(label) if is_row else None
            found.append((block.first_row + i, path.parent / str(file), told))
    return columns, found
