"""One pass over a file: each row is checked, what is wrong with it told, what a training needs of it kept."""

from __future__ import annotations

import difflib
import hashlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InvalidArgumentError
from .cells import CellError, as_label, as_list, as_number, as_text, as_time, is_missing, is_mojibake
from .columns import TEXT_PARTS, find_columns
from .data import Block, read_blocks, undecodable
from .duplicates import DuplicateFinder, text_hash
from .problems import Problem

MAX_LABELS = 10_000

# code -> what is said, what is done
_KINDS = {
    "broken_row": ("not a row of this file", "dropped"),
    "encoding": (
        "bytes that are not {encoding}; is the file, or a part of it, in cp1252 or latin-1?",
        "dropped",
    ),
    "mojibake": ("text that was once read in a wrong encoding", "kept"),
    "missing_text": ("no text (NaN or null)", "dropped"),
    "empty_text": ("an empty text", "dropped"),
    "wrong_cell": ("a cell of another kind", "dropped"),
    "missing_label": ("no label (NaN, null or empty)", "dropped"),
    "unknown_label": ("a label that the model does not know", "error"),
    "missing_group": ("no value in the column of groups", "dropped"),
    "missing_time": ("no date or number in the column of times", "dropped"),
    "duplicate": ("the same text and label as an earlier row, but for spaces and case", "dropped"),
    "conflict": ("the same text with different labels", "dropped"),
    "leakage": ("the text stands in a held-out file too", "dropped"),
}


SEPARATOR = ","


def labels_of(cell: Any, separator: str | None) -> list[str]:
    """The labels of a cell: a list, one written as JSON, or texts with the separator between.

    >>> labels_of("news, sport", ","), labels_of('["a,b"]', ","), labels_of([], ",")
    (['news', 'sport'], ['a,b'], [])
    """
    if isinstance(cell, (list, tuple)) or (isinstance(cell, str) and cell.lstrip().startswith("[")):
        return [name.strip() for name in as_list(cell)]
    return [name.strip() for name in as_label(cell).split(separator or SEPARATOR) if name.strip()]


def unknown_label() -> tuple[str, str, str]:
    """Code, message and action of a label that a model does not know."""
    return "unknown_label", *_KINDS["unknown_label"]


@dataclass(frozen=True)
class DataSettings:
    """How files are read. `columns` maps parts to names, such as {"text": "headline", "group": "author"}. With a
    `label_separator` a text has several labels: a list of them, or one cell with that between them."""

    columns: Mapping[str, str | None] = field(default_factory=dict)
    encoding: str = "utf-8"
    delimiter: str | None = None
    keep_duplicates: bool = False
    label_separator: str | None = None


class Scan:
    """One pass over one file."""

    def __init__(
        self, path: Path, task: str, settings: DataSettings, known: Sequence[str] | None, keep: bool
    ) -> None:
        self.path, self.task, self.settings, self.keep = path, task, settings, keep
        self.known = None if known is None else {name: i for i, name in enumerate(known)}
        self.ids: dict[str, int] = dict(self.known or {})
        self.counts: dict[int, int] = dict.fromkeys(self.ids.values(), 0)
        self.problems: dict[str, Problem] = {}
        self.total, self.kept, self.characters, self.longest = 0, 0, 0, 0
        self.columns: dict[str, str] = {}
        self.rows, self.labels, self.hashes = array("q"), array("d"), array("Q")
        self.groups, self.times = array("Q"), array("d")

    def run(self, finder: DuplicateFinder, source: int) -> None:
        for block in read_blocks(
            self.path, encoding=self.settings.encoding, delimiter=self.settings.delimiter
        ):
            if not self.columns:
                self.columns = find_columns(
                    self.task, block.columns, self.settings.columns, path=self.path.name
                )
            self._block(block, finder, source)
        if not self.columns:
            raise InvalidArgumentError(f"{self.path.name}: no rows")

    def problem(self, code: str) -> Problem:
        found = self.problems.get(code)
        if found is None:
            message, action = _KINDS[code]
            found = Problem(code, message.format(encoding=self.settings.encoding), action)
            self.problems[code] = found
        return found

    def _block(self, block: Block, finder: DuplicateFinder, source: int) -> None:
        cells = {part: block.columns[name] for part, name in self.columns.items()}
        hashes: list[int] = []
        rows: list[int] = []
        labels: list[int] = []
        for i in range(len(block)):
            row = block.first_row + i
            line = None if block.lines is None else block.lines[i]
            self.total += 1
            if row in block.broken:
                self.problem("broken_row").add(row, line, block.broken[row])
                continue
            found = self._row({part: column[i] for part, column in cells.items()}, row, line)
            if found is None:
                continue
            text, label = found
            key = text_hash(text)
            hashes.append(key)
            rows.append(row)
            labels.append(hash(label) if isinstance(label, float) else label)
            if self.keep:
                self.rows.append(row)
                self.labels.append(label)
                self.hashes.append(key)
        finder.add(hashes, rows, labels, source)

    def _row(self, cells: dict[str, Any], row: int, line: int | None) -> tuple[str, float | int] | None:
        """The row's text, of all its parts, and its label; None when it is dropped."""
        try:
            text = self._text(cells, row, line)
            label = None if text is None else self._label(cells, row, line)
            extra = self._extra(cells, row, line) if label is not None else None
        except CellError as error:
            self.problem("wrong_cell").add(row, line, str(error))
            return None
        if text is None or label is None or extra is None:
            return None
        self.kept += 1
        self.characters += len(text)
        self.longest = max(self.longest, len(text))
        if is_mojibake(text):
            self.problem("mojibake").add(row, line, text[:40])
        if self.keep:
            if extra[0] is not None:
                self.groups.append(extra[0])
            if extra[1] is not None:
                self.times.append(extra[1])
        return text, label

    def _text(self, cells: dict[str, Any], row: int, line: int | None) -> str | None:
        texts = []
        for part in self.columns:
            if part == "tokens":
                tokens = [] if is_missing(cells[part]) else as_list(cells[part])
                value: Any = " ".join(tokens)
            elif part in TEXT_PARTS:
                value = cells[part]
            else:
                continue
            if isinstance(value, str) and not value.strip():
                self.problem("empty_text").add(row, line)
                return None
            if is_missing(value):
                self.problem("missing_text").add(row, line, f"column {self.columns[part]!r}")
                return None
            text = as_text(value)
            if undecodable(text):
                shown = text.encode("utf-8", "surrogateescape")[:40]
                self.problem("encoding").add(row, line, repr(shown)[1:])
                return None
            texts.append(text)
        return "\x1f".join(texts)

    def _label(self, cells: dict[str, Any], row: int, line: int | None) -> float | int | None:
        if self.task == "tag":
            return self._tags(cells, row, line)
        if "label" not in self.columns:
            return 0
        value = cells["label"]
        if is_missing(value):
            self.problem("missing_label").add(row, line)
            return None
        if self.task in ("rerank", "similarity", "regress"):
            return as_number(value)
        if self.task == "multilabel":
            names = labels_of(value, self.settings.label_separator)
            if any(self._id(name, row, line) is None for name in names):
                return None
            return _joined(sorted(set(names)))
        name = as_label(value)
        if undecodable(name):
            self.problem("encoding").add(row, line, f"label {name.encode('utf-8', 'surrogateescape')!r}")
            return None
        return self._id(name, row, line)

    def _id(self, name: str, row: int, line: int | None) -> int | None:
        number = self.ids.get(name)
        if number is None:
            if self.known is not None:
                near = difflib.get_close_matches(name, self.known, n=1)
                hint = f"{name!r}" + (f", perhaps {near[0]!r}" if near else "")
                self.problem("unknown_label").add(row, line, hint)
                return None
            number = self.ids[name] = len(self.ids)
            if number >= MAX_LABELS:
                raise InvalidArgumentError(
                    f"{self.path.name}: column {self.columns.get('label')!r} has {MAX_LABELS} different values by row "
                    f"{row}: is it the label?"
                )
        self.counts[number] = self.counts.get(number, 0) + 1
        return number

    def _tags(self, cells: dict[str, Any], row: int, line: int | None) -> int | None:
        tokens, tags = as_list(cells["tokens"]), as_list(cells["tags"])
        if len(tokens) != len(tags):
            raise CellError(f"{len(tokens)} tokens and {len(tags)} tags")
        for tag in tags:
            if self._id(tag, row, line) is None:
                return None
        return _joined(tags)

    def _extra(
        self, cells: dict[str, Any], row: int, line: int | None
    ) -> tuple[int | None, float | None] | None:
        group = time = None
        if "group" in self.columns:
            if is_missing(cells["group"]):
                self.problem("missing_group").add(row, line)
                return None
            group = int.from_bytes(
                hashlib.blake2b(str(cells["group"]).encode("utf-8", "replace"), digest_size=8).digest(),
                "little",
            )
        if "time" in self.columns:
            try:
                if is_missing(cells["time"]):
                    raise CellError("nothing there")
                time = as_time(cells["time"])
            except CellError as error:
                self.problem("missing_time").add(row, line, str(error))
                return None
        return group, time


def _joined(names: Sequence[str]) -> int:
    """One number for a row's labels, equal for equal ones."""
    digest = hashlib.blake2b("\x1f".join(names).encode("utf-8", "surrogatepass"), digest_size=6).digest()
    return int.from_bytes(digest, "little")
