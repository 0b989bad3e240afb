"""Whether an audit log is as it was written, and what it says; audit.py writes it."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InvalidArgumentError
from . import audit_retention

_START = "0" * 64
_HASH_FIELD = ',"hash":"'
_TAIL = len(_HASH_FIELD) + 64 + len('"}')


def _link(previous: str, line: bytes) -> str:
    return hashlib.sha256(previous.encode() + line).hexdigest()


def _mac(key: bytes, previous: str, number: int) -> str:
    return hmac.new(key, f"{number}:{previous}".encode(), hashlib.sha256).hexdigest()


def _segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("audit-*.jsonl"))


@dataclass
class Report:
    """What `verify` found. `problem` is None for a chain that holds. `pruned` lines before the first one were removed
    by the server itself, which left its note."""

    lines: int = 0
    checkpoints: int = 0
    unchecked: int = 0  # lines behind the last checkpoint, whose order rests on the chain alone
    pruned: int = 0
    problem: str | None = None


def verify(folder: Path, key: bytes | None, archive: Path | None = None) -> Report:
    """Follows the chain from its first line, or from where the server has cut it. Without the key the checkpoints and
    the notes of cutting are not checked, only the chain. `archive` is where the segments went that were cut off."""
    report = Report()
    segments = _segments_of(folder, archive)
    ends: dict[int, str] = {}
    previous = _START
    first = audit_retention.first_line_of(segments[0])
    if first > 1:
        found = audit_retention.find_note(_lines(segments), first - 1)
        if found is None:
            report.problem = (
                f"{segments[0].name}: the lines before {first} are missing, and no note of the server says that they "
                "were removed"
            )
            return report
        previous, report.pruned = str(found["chain"]), first - 1
    for number, (place, line) in enumerate(_lines(segments), first):
        middle = line[-_TAIL : -_TAIL + len(_HASH_FIELD)]
        if len(line) < _TAIL or middle != _HASH_FIELD.encode() or not line.endswith(b'"}'):
            report.problem = f"{place}: not a line of an audit log, or a torn one"
            return report
        bare, stored = line[:-_TAIL] + b"}", line[-66:-2].decode("ascii", "replace")
        link = _link(previous, bare)
        try:
            row = json.loads(bare)
            told = int(row["n"])
        except (ValueError, KeyError, TypeError):
            report.problem = f"{place}: not a line of an audit log"
            return report
        if not hmac.compare_digest(link.encode(), stored.encode()):
            report.problem = f"{place}: line {told} was changed, or lines before it were left out"
            return report
        if told != number:
            report.problem = f"{place}: line {told} stands where line {number} should"
            return report
        report.unchecked += 1
        report.problem = _problem_of(row, number, previous, key, ends)
        if report.problem is not None:
            report.problem = f"{place}: {report.problem}"
            return report
        if row.get("event") == "checkpoint":
            report.checkpoints += 1
            report.unchecked = 0
        report.lines += 1
        previous = ends[number] = link
        if len(ends) > 1 and number - 1 in ends and not place.endswith(":1"):
            del ends[number - 1]  # only the last line of a segment is ever named again
    return report


def _problem_of(
    row: dict[str, Any], number: int, previous: str, key: bytes | None, ends: dict[int, str]
) -> str | None:
    """What is wrong with a line that fits into the chain, if it is a checkpoint or a note of cutting."""
    given = str(row.get("mac")).encode()
    if row.get("event") == "checkpoint" and key is not None:
        if not hmac.compare_digest(_mac(key, previous, number).encode(), given):
            return f"the checkpoint in line {number} was not made with this key"
        return None
    if row.get("event") == audit_retention.EVENT:
        through, chain = row.get("through"), str(row.get("chain"))
        if not isinstance(through, int) or ends.get(through, chain) != chain:
            return f"line {number} says of line {through} what is not so"
        if key is not None and not hmac.compare_digest(
            audit_retention.mac_of(key, through, chain).encode(), given
        ):
            return f"the note in line {number} was not made with this key"
    return None


def read(folder: Path, archive: Path | None = None) -> Iterator[dict[str, Any]]:
    """Every event, oldest first."""
    for _, line in _lines(_segments_of(folder, archive)):
        yield json.loads(line)


def _segments_of(folder: Path, archive: Path | None) -> list[Path]:
    """Those in both folders, in order; InvalidArgumentError where there is none."""
    found = {} if archive is None else {segment.name: segment for segment in _segments(archive)}
    found |= {segment.name: segment for segment in _segments(folder)}
    if not found:
        raise InvalidArgumentError(f"{folder}: there is no audit log in it")
    return [found[name] for name in sorted(found)]


def _lines(segments: list[Path]) -> Iterator[tuple[str, bytes]]:
    for segment in segments:
        with open(segment, "rb") as file:
            for count, line in enumerate(file, 1):
                yield f"{segment.name}:{count}", line.rstrip(b"\n")
