"""An audit log read a page at a time, by those who may."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .audit_retention import first_line_of

MAX_ROWS = 1000
_MAX_LINES = 200_000  # looked at for one page


@dataclass(frozen=True)
class Wanted:
    """Which events: those behind line `after`, of `since` <= time < `until`, whose `fields` are as given."""

    after: int = 0
    limit: int = 100
    since: float | None = None
    until: float | None = None
    fields: dict[str, str] = field(default_factory=dict)

    def matches(self, row: dict[str, Any]) -> bool:
        time = float(row.get("time", 0))
        if (self.since is not None and time < self.since) or (self.until is not None and time >= self.until):
            return False
        return all(str(row.get(name)) == value for name, value in self.fields.items())


@dataclass(frozen=True)
class Page:
    """`rows` in order, and the line behind which to go on; None at the end of the log."""

    rows: list[dict[str, Any]]
    next: int | None


def read_page(folder: Path, wanted: Wanted) -> Page:
    """The next events that are wanted. A page may be short, or empty, and have a `next`: few lines may match."""
    rows: list[dict[str, Any]] = []
    number = wanted.after
    for count, line in enumerate(_lines_behind(folder, wanted.after)):
        if len(rows) == wanted.limit or count == _MAX_LINES:
            return Page(rows, number)
        row = json.loads(line)
        number = int(row["n"])
        if wanted.matches(row):
            rows.append(row)
    return Page(rows, None)


def _lines_behind(folder: Path, number: int) -> Iterator[bytes]:
    segments = sorted(folder.glob("audit-*.jsonl"))
    later = [i for i, segment in enumerate(segments) if first_line_of(segment) > number + 1]
    first = max(0, later[0] - 1) if later else len(segments) - 1
    for segment in segments[max(0, first) :]:
        try:
            file = open(segment, "rb")  # noqa: SIM115  # closed below; it may have been removed meanwhile
        except FileNotFoundError:
            continue
        with file:
            for line in file:
                if not line.endswith(b"\n"):  # being written
                    return
                if _number_of(line) > number:
                    yield line


def _number_of(line: bytes) -> int:
    """Lines begin with {"n":NUMBER, and a line that does not is read anyway."""
    digits = line[5:25].partition(b",")[0]
    return int(digits) if line.startswith(b'{"n":') and digits.isdigit() else 1 << 62
