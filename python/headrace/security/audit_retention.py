"""How long an audit log is kept, and what is left of what was removed.

A segment, one file of the log, is removed or moved to an archive as a whole, the oldest first, never the one that is
being written. Before that a line is added to the chain, and made durable, which says up to which line and hash the log
was cut and carries an HMAC by the key of the checkpoints. So `verify` can begin in the middle of the chain, but only
where the server itself has cut it; whoever removes a file without the key is found.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InvalidArgumentError

EVENT = "pruned"
_SEGMENT_BYTES = 64 << 20
_DAY = 86_400.0
_AGES = {"h": 3600.0, "d": _DAY, "w": 7 * _DAY, "y": 365.25 * _DAY}
_PARTS = 10  # of what is kept, a segment is at most one, so that about as much is kept as was asked for


@dataclass(frozen=True)
class Retention:
    """What is kept: events for `seconds`, and `bytes` of them; None is no limit. `archive` is where segments go."""

    seconds: float | None = None
    bytes: int | None = None
    archive: Path | None = None

    @property
    def segment_bytes(self) -> int:
        """After which a new segment is begun."""
        return _SEGMENT_BYTES if self.bytes is None else max(1, min(_SEGMENT_BYTES, self.bytes // _PARTS))

    @property
    def segment_seconds(self) -> float | None:
        return None if self.seconds is None else min(_DAY, self.seconds / _PARTS)


def parse_keep(texts: Iterable[str], archive: Path | None = None) -> Retention:
    """From such as `90d` (h, d, w, y) and `10GB`, each at most once.

    Raises InvalidArgumentError.

    >>> from headrace.security.audit_retention import parse_keep
    >>> parse_keep(["90d", "10GB"])
    Retention(seconds=7776000.0, bytes=10000000000, archive=None)
    """
    from ..memory import parse_bytes

    seconds: float | None = None
    size: int | None = None
    for text in texts:
        age = re.fullmatch(r"([1-9][0-9]{0,5})([hdwy])", text.strip())
        if age is not None and seconds is None:
            seconds = int(age[1]) * _AGES[age[2]]
        elif age is None and size is None and text.strip()[-1:] in ("b", "B"):
            size = parse_bytes(text)
        else:
            raise InvalidArgumentError(
                f"--audit-keep {text}: must be an age such as 90d (h, d, w, y) or a size such as 10GB, each once"
            )
    return Retention(seconds, size, archive)


def first_line_of(segment: Path) -> int:
    """The number of the first line of a segment, by its name."""
    return int(segment.name.removeprefix("audit-").removesuffix(".jsonl"))


def last_row(segment: Path) -> dict[str, Any] | None:
    """A segment's last line; None of an empty one."""
    with open(segment, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 65_536))
        lines = file.read().splitlines()
    return json.loads(lines[-1]) if lines else None


def mac_of(key: bytes, through: int, link: str) -> str:
    return hmac.new(key, f"{EVENT}:{through}:{link}".encode(), hashlib.sha256).hexdigest()


def note(key: bytes, segment: Path, row: dict[str, Any], archived: bool) -> dict[str, Any]:
    """The event of cutting the log behind `segment`, whose last line is `row`."""
    through, link = int(row["n"]), str(row["hash"])
    return {
        "event": EVENT,
        "segment": segment.name,
        "through": through,
        "chain": link,
        "archived": archived,
        "mac": mac_of(key, through, link),
    }


def expired(segments: list[Path], retention: Retention, now: float | None = None) -> Iterator[Path]:
    """Those of the closed segments that are no longer to be kept, oldest first; the last one is open."""
    now = time.time() if now is None else now
    total = sum(segment.stat().st_size for segment in segments)
    for segment in segments[:-1]:
        row = last_row(segment)
        is_old = retention.seconds is not None and row is not None and row["time"] < now - retention.seconds
        if not is_old and not (retention.bytes is not None and total > retention.bytes):
            return
        total -= segment.stat().st_size
        yield segment


def archive(segment: Path, folder: Path) -> None:
    """A copy in `folder`, safe on disk. OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = folder / f".{segment.name}"
    shutil.copyfile(segment, temporary)
    temporary.chmod(0o600)
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())
    temporary.replace(folder / segment.name)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Makes what was created and removed in it durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def find_note(lines: Iterable[tuple[str, bytes]], through: int) -> dict[str, Any] | None:
    """The note of having cut the log behind line `through`."""
    marks = (f'"event":"{EVENT}"'.encode(), f'"through":{through},'.encode())
    for _, line in lines:
        if all(mark in line for mark in marks):
            row = json.loads(line)
            if row.get("event") == EVENT and row.get("through") == through:
                return dict(row)
    return None
