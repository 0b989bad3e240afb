"""Labelled data in files, read in blocks of bounded memory: CSV, TSV, JSON lines, Parquet, Arrow, `datasets`.

A row is counted as it stands in the file, from 1; the header of a CSV is no row. Cells are as the file has them: text
in a CSV, any JSON value elsewhere, None where nothing is. What cannot be read is told with its row, never passed over.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import CorruptFileError, InvalidArgumentError, ModelNotFoundError, UnsupportedError

BLOCK_ROWS = 4096
BLOCK_CHARACTERS = 4 << 20
MAX_CELL = 16 << 20  # characters: a quote that nobody closes must not read the rest of the file into one cell
_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".conll": "conll",
    ".iob2": "conll",
}


@dataclass(frozen=True)
class Block:
    """Some rows that follow each other.

    `first_row` is the number of the first; `lines` the lines on which they begin, where the file has lines. `columns`
    are lists of equal length. `broken` are rows of this block that are none, such as {17: "3 fields, the header has
    2"}: their cells are None.
    """

    first_row: int
    columns: dict[str, list[Any]]
    lines: list[int] | None = None
    broken: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))


def format_of(path: Path) -> str:
    """Which reader a file gets, by its name. Raises UnsupportedError, ModelNotFoundError (no such file)."""
    if not path.exists():
        raise ModelNotFoundError(f"{path}: no such file")
    if path.is_dir():
        if (path / "state.json").is_file() or any(path.glob("*/state.json")):
            return "datasets"
        raise UnsupportedError(f"{path}: a folder, and not one that `datasets` saved; give a file")
    name = path.name.removesuffix(".gz")
    kind = _SUFFIXES.get(Path(name).suffix.lower())
    if kind is None:
        raise UnsupportedError(
            f"{path.name}: data must be one of {', '.join(_SUFFIXES)} (text also as .gz), or a folder of `datasets`"
        )
    return kind


def read_blocks(
    path: str | Path,
    *,
    encoding: str = "utf-8",
    delimiter: str | None = None,
    rows: int = BLOCK_ROWS,
) -> Iterator[Block]:
    """The rows of a file, block by block.

    Args:
        path: a file, or a folder that `datasets` saved.
        encoding: of text files; a byte order mark says more than it.
        delimiter: of a CSV; by default what its header is divided by, of comma, semicolon and tab.
        rows: at most so many a block; long texts make blocks shorter.

    Bytes that are not of the encoding stand in the texts as lone surrogates; `undecodable` finds them.

    Raises:
        ModelNotFoundError, UnsupportedError: no such file, or of no known format.
        CorruptFileError: not of its format, with the row where that shows.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "mills.csv"
    >>> _ = path.write_text("text,label\\nit turns,good\\nit stands,bad\\n")
    >>> [block.columns for block in read_blocks(path)]
    [{'text': ['it turns', 'it stands'], 'label': ['good', 'bad']}]
    """
    path = Path(path)
    kind = format_of(path)
    if kind in ("csv", "tsv"):
        yield from _read_csv(path, encoding, delimiter or ("\t" if kind == "tsv" else None), rows)
    elif kind == "jsonl":
        yield from _read_jsonl(path, encoding, rows)
    elif kind == "conll":
        yield from _read_conll(path, encoding, rows)
    else:
        from . import arrow_data

        first = 1
        for columns in arrow_data.read_columns(path, kind, rows):
            block = Block(first, columns)
            yield block
            first += len(block)


def undecodable(text: str) -> bool:
    """Whether the text holds bytes that are not of the file's encoding."""
    return not text.isascii() and any("\udc80" <= letter <= "\udcff" for letter in text)


@contextmanager
def open_text(path: Path, encoding: str) -> Iterator[io.TextIOBase]:
    """The file as text; a byte order mark names the encoding, undecodable bytes become lone surrogates."""
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise InvalidArgumentError(
            f"encoding {encoding!r} is not known; examples: utf-8, cp1252, utf-16"
        ) from None
    is_packed = path.suffix == ".gz"
    with gzip.open(path, "rb") if is_packed else path.open("rb") as raw:
        start = raw.read(4)
        raw.seek(0)
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            encoding = "utf-16"
        elif start.startswith(codecs.BOM_UTF8):
            encoding = "utf-8-sig"
        text = io.TextIOWrapper(raw, encoding=encoding, errors="surrogateescape", newline="")
        try:
            yield text
        except UnicodeDecodeError as error:
            raise CorruptFileError(f"{path.name}: not {encoding}: {error}") from None
        except (EOFError, gzip.BadGzipFile) as error:
            raise CorruptFileError(f"{path.name}: {error}") from None


class _Collector:
    """Gathers rows until they make a block."""

    def __init__(self, names: Sequence[str], rows: int) -> None:
        self._names, self._rows = list(names), rows
        self._next = 1
        self._start()

    def _start(self) -> None:
        self._columns: dict[str, list[Any]] = {name: [] for name in self._names}
        self._lists = list(self._columns.values())
        self._lines: list[int] = []
        self._broken: dict[int, str] = {}
        self._characters = 0

    def add(
        self, cells: Sequence[Any], line: int, characters: int, broken: str | None = None
    ) -> Block | None:
        for column, cell in zip(self._lists, cells, strict=True):
            column.append(cell)
        self._lines.append(line)
        if broken is not None:
            self._broken[self._next + len(self._lines) - 1] = broken
        self._characters += characters
        full = len(self._lines) >= self._rows or self._characters >= BLOCK_CHARACTERS
        return self.block() if full else None

    def block(self) -> Block | None:
        if not self._lines:
            return None
        found = Block(self._next, self._columns, self._lines, self._broken)
        self._next += len(self._lines)
        self._start()
        return found


class _Record:
    """Lines of a file, of which it keeps those of the row that is being read."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._kept: list[str] = []
        self._is_done = False
        self._number, self.first = 0, 1  # of the last line, and of the first that is kept

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        if self._is_done:
            self._kept.clear()
            self._is_done = False
            self.first = self._number + 1
        self._number += 1
        self._kept.append(line)
        return line

    def ends(self) -> None:
        """The row ended with the last line."""
        self._is_done = True

    def is_open(self, delimiter: str) -> bool:
        """Whether the last row ended with the file within quotes: then it has swallowed the rows behind it."""
        try:
            for _ in csv.reader(self._kept, delimiter=delimiter, strict=True):
                pass
        except csv.Error as error:
            return "end of data" in str(error)
        return False


def _read_csv(path: Path, encoding: str, delimiter: str | None, rows: int) -> Iterator[Block]:
    csv.field_size_limit(MAX_CELL)
    with open_text(path, encoding) as file:
        first = file.readline()
        if not first.strip():
            raise CorruptFileError(f"{path.name}: no header: the first line must name the columns")
        if delimiter is None:
            delimiter = max(",;\t", key=first.count)
        file.seek(0)
        record = _Record(file)
        reader = csv.reader(record, delimiter=delimiter)
        names = [name.strip() for name in next(reader)]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise CorruptFileError(f"{path.name}: the header names {sorted(twice)} twice")
        collector = _Collector(names, rows)
        nothing = [None] * len(names)
        line, row = reader.line_num + 1, 0
        while True:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                raise CorruptFileError(
                    f"{path.name}: row {row + 1} (line {line}): {error}; is a quote not closed?"
                ) from None
            if cells is None:
                if record.is_open(delimiter):
                    raise CorruptFileError(
                        f"{path.name}: row {row} (line {record.first}): a quote is open at the end of the file"
                    )
                break
            record.ends()
            if not cells:  # an empty line is no row, as in pandas
                line = reader.line_num + 1
                continue
            row += 1
            broken = None
            if len(cells) != len(names):
                broken = f"{len(cells)} fields, the header has {len(names)}"
            block = collector.add(nothing if broken else cells, line, sum(map(len, cells)), broken)
            line = reader.line_num + 1
            if block is not None:
                yield block
        rest = collector.block()
        if rest is not None:
            yield rest


def _read_jsonl(path: Path, encoding: str, rows: int) -> Iterator[Block]:
    collector: _Collector | None = None
    names: list[str] = []
    waiting: list[tuple[int, str]] = []  # broken rows before the first that names the columns
    with open_text(path, encoding) as file:
        for line, text in enumerate(_bounded_lines(file, path), 1):
            if not text.strip():
                continue
            broken = None
            try:
                value = json.loads(text)
                if not isinstance(value, dict):
                    broken = f"a JSON {type(value).__name__}, not an object"
            except (ValueError, RecursionError) as error:
                broken = f"not JSON: {error}"
            if collector is None:
                if broken is not None:
                    waiting.append((line, broken))
                    if len(waiting) > rows:
                        raise CorruptFileError(f"{path.name}: row 1 (line {waiting[0][0]}): {waiting[0][1]}")
                    continue
                names = list(value)
                collector = _Collector(names, rows)
                for place, why in waiting:
                    collector.add([None] * len(names), place, 0, why)
            cells = [None] * len(names) if broken else [value.get(name) for name in names]
            block = collector.add(cells, line, len(text), broken)
            if block is not None:
                yield block
    if collector is None:
        if waiting:
            raise CorruptFileError(f"{path.name}: row 1 (line {waiting[0][0]}): {waiting[0][1]}")
        raise CorruptFileError(f"{path.name}: no rows")
    rest = collector.block()
    if rest is not None:
        yield rest


def _bounded_lines(file: io.TextIOBase, path: Path) -> Iterator[str]:
    number = 0
    while line := file.readline(MAX_CELL + 1):
        number += 1
        if len(line) > MAX_CELL:
            raise CorruptFileError(f"{path.name}: line {number} has more than {MAX_CELL >> 20} MiB")
        yield line


def _read_conll(path: Path, encoding: str, rows: int) -> Iterator[Block]:
    """A token a line, its tag in the last column; an empty line ends a sentence. Columns `tokens` and `tags`."""
    collector = _Collector(["tokens", "tags"], rows)
    tokens: list[str] = []
    tags: list[str] = []
    begin, characters = 1, 0
    broken: str | None = None
    with open_text(path, encoding) as file:
        for number, line in enumerate(_bounded_lines(file, path), 1):
            fields = line.split("\t") if "\t" in line else line.split()
            fields = [part.strip() for part in fields]
            is_end = not line.strip() or fields[0] == "-DOCSTART-"
            if not is_end:
                if not tokens and broken is None:
                    begin = number
                if len(fields) < 2:
                    broken = f"line {number} has no tag: {line.strip()[:40]!r}"
                tokens.append(fields[0])
                tags.append(fields[-1])
                characters += len(line)
            elif tokens:
                block = collector.add([tokens, tags], begin, characters, broken)
                tokens, tags, broken, characters = [], [], None, 0
                if block is not None:
                    yield block
    if tokens:
        block = collector.add([tokens, tags], begin, characters, broken)
        if block is not None:
            yield block
    rest = collector.block()
    if rest is not None:
        yield rest
