"""The audit log: what was asked by whom and how it ended, never what it said.

Lines of JSON, each with the SHA-256 of itself and the line before, so that none can be changed, left out or moved;
every thousand lines and every minute a checkpoint carries an HMAC by a key that lies elsewhere, so that nobody without
it can write the chain anew. Lines are written together and made durable together (group commit): while the disk is busy
with some, the next wait. A torn last line, left by a crash, is cut off when the log is opened, and that is noted.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CorruptFileError, InvalidArgumentError
from . import audit_retention
from .audit_retention import Retention
from .audit_verify import _HASH_FIELD, _START, _link, _mac, _segments
from .audit_verify import _TAIL as _TAIL
from .audit_verify import Report as Report
from .audit_verify import read as read
from .audit_verify import verify as verify
from .private_file import secret_of

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger("headrace.audit")

CHECKPOINT_LINES = 1000
CHECKPOINT_SECONDS = 60.0
SEGMENT_BYTES = 64 << 20
# Where nobody waits for an event to be durable, events gather for so long before the disk is asked.
GATHER_SECONDS = 0.05
PRUNE_SECONDS = 60.0  # how often it is looked whether older segments are to go
_RETRY_SECONDS = 0.5
_MOST_PENDING = 100_000
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode

OnDurable = Callable[[bool], None]


def find_key(folder: Path, *, create: bool) -> bytes | None:
    """The key of the checkpoints: HEADRACE_AUDIT_KEY, else the file `audit.key` in `folder`; made where there is none
    if that is asked for."""
    given = os.environ.get("HEADRACE_AUDIT_KEY")
    if given:
        return given.encode()
    return secret_of(folder / "audit.key", create=create)


class _Chain:
    """The end of the chain, and the file it is in. Not thread-safe."""

    def __init__(self, folder: Path, key: bytes, retention: Retention) -> None:
        self._folder = folder
        self._key = key
        self._retention = retention
        self._number = 0
        self._hash = _START
        self._since_checkpoint = 0
        self._checked_at = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise InvalidArgumentError(
                f"{folder}: another process writes this audit log: give each server a folder of its own"
            ) from None
        segments = _segments(folder)
        dropped = self._continue(segments[-1]) if segments else 0
        self._path = segments[-1] if segments else self._next_path()
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = os.fstat(self._file).st_size
        self._begun = time.time()  # of a segment that is continued, since this server writes it
        self._pending: list[bytes] = []
        if dropped:
            self.append({"event": "recovered", "dropped_bytes": dropped})

    def _next_path(self) -> Path:
        return self._folder / f"audit-{self._number + 1:012d}.jsonl"

    def _continue(self, segment: Path) -> int:
        """Reads where the chain ends; cuts a torn last line off and returns its size."""
        data = segment.read_bytes()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            with open(segment, "r+b") as file:
                file.truncate(end)
                os.fsync(file.fileno())
        last = data[:end].rsplit(b"\n", 2)[-2] if end else b""
        if not last:
            earlier = [path for path in _segments(self._folder) if path < segment]
            if earlier:
                self._continue(earlier[-1])
        else:
            try:
                row = json.loads(last)
                self._number, self._hash = int(row["n"]), str(row["hash"])
            except (ValueError, KeyError, TypeError):
                raise CorruptFileError(
                    f"{segment}: its last line is not one of an audit log: `headrace audit verify` tells more"
                ) from None
        return len(data) - end

    def append(self, event: dict[str, Any]) -> None:
        """Puts an event at the end, to be written by `commit`."""
        self._number += 1
        row = {"n": self._number, "time": round(time.time(), 6), **event}
        line = _encode(row).encode()
        self._hash = _link(self._hash, line)
        self._pending.append(line[:-1] + _HASH_FIELD.encode() + self._hash.encode() + b'"}\n')
        self._since_checkpoint += 1

    def append_checkpoint_when_due(self, *, now: bool = False) -> None:
        due = self._since_checkpoint >= CHECKPOINT_LINES or (
            time.monotonic() - self._checked_at >= CHECKPOINT_SECONDS
        )
        if self._since_checkpoint and (due or now):
            self.append({"event": "checkpoint", "mac": _mac(self._key, self._hash, self._number + 1)})
            self._since_checkpoint, self._checked_at = 0, time.monotonic()

    @property
    def mark(self) -> tuple[int, str, int, int]:
        return self._number, self._hash, len(self._pending), self._since_checkpoint

    def forget_since(self, mark: tuple[int, str, int, int]) -> None:
        """Takes back what was appended, not yet written, since `mark`."""
        self._number, self._hash, pending, self._since_checkpoint = mark
        del self._pending[pending:]

    def commit(self) -> None:
        """Writes what was appended and makes it durable. OSError when that fails: nothing of it is in the file then."""
        if not self._pending:
            return
        if self._size >= min(SEGMENT_BYTES, self._retention.segment_bytes) or (
            self._size
            and self._retention.segment_seconds is not None
            and time.time() - self._begun >= self._retention.segment_seconds
        ):
            self._turn_over()
        data = b"".join(self._pending)
        try:
            written = 0
            while written < len(data):
                written += os.write(self._file, data[written:])
            os.fdatasync(self._file)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)
        self._pending.clear()

    def _turn_over(self) -> None:
        path = self._folder / f"audit-{self._number - len(self._pending) + 1:012d}.jsonl"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        os.close(self._file)
        self._file, self._path, self._size, self._begun = file, path, 0, time.time()
        audit_retention.sync_folder(self._folder)

    def prune(self) -> None:
        """Removes, or moves to the archive, what is no longer to be kept; see audit_retention.py. OSError, and what was
        not noted is still there then."""
        archive = self._retention.archive
        for segment in list(audit_retention.expired(_segments(self._folder), self._retention)):
            row = audit_retention.last_row(segment)
            if row is None:
                continue
            if archive is not None:
                audit_retention.archive(segment, archive)
            # A line for each, so that wherever this is interrupted the first segment left has its note.
            mark = self.mark
            self.append(audit_retention.note(self._key, segment, row, archive is not None))
            try:
                self.commit()
            except OSError:
                self.forget_since(mark)
                raise
            segment.unlink()
        audit_retention.sync_folder(self._folder)

    def close(self) -> None:
        os.close(self._file)
        os.close(self._lock)


class AuditLog:
    """Events into the log in `folder`, by a thread of its own.

    Args:
        key: of the checkpoints; see `find_key`.
        strict: events are made durable before those who gave them are told; without it within about 0.1 s.
        retention: how long they are kept; by default without end.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from headrace.security.audit import AuditLog, verify
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with AuditLog(Path(folder), b"k" * 32) as log:
    ...         log.add({"event": "request", "status": 200})
    ...     report = verify(Path(folder), b"k" * 32)
    >>> report.lines, report.checkpoints, report.problem
    (2, 1, None)
    """

    def __init__(
        self, folder: Path, key: bytes, *, strict: bool = False, retention: Retention | None = None
    ) -> None:
        self.folder = folder
        self._chain = _Chain(folder, key, retention or Retention())
        self._prunes = retention is not None
        self._pruned_at = -math.inf
        self.strict = strict
        self.failure: str | None = None  # why nothing can be written now
        self.lost = 0
        self._events: queue.SimpleQueue[tuple[dict[str, Any], OnDurable | None] | None] = queue.SimpleQueue()
        self._refused: dict[tuple[int, str], int] = {}
        self._refused_lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="headrace-audit", daemon=True)
        self._thread.start()

    def add(self, event: dict[str, Any], on_durable: OnDurable | None = None) -> None:
        """Queues an event; `on_durable` is called, from another thread, with whether it is safe on disk."""
        self._events.put((event, on_durable))

    def count_refused(self, status: int, route: str) -> None:
        """Requests without a valid key: only counted, a line a second for each kind, so that nobody unknown can fill
        the disk."""
        with self._refused_lock:
            key = status, route
            self._refused[key] = self._refused.get(key, 0) + 1

    def _take_refused(self) -> Iterator[dict[str, Any]]:
        with self._refused_lock:
            refused, self._refused = self._refused, {}
        for (status, route), count in refused.items():
            yield {"event": "refused", "status": status, "route": route, "count": count}

    def _run(self) -> None:
        gathered: list[tuple[dict[str, Any], OnDurable | None]] = []
        is_open, refused_at = True, time.monotonic()
        while is_open or gathered:
            if self.failure is not None and not gathered:
                gathered.append(({"event": "resumed"}, None))  # what tries whether writing works again
            with contextlib.suppress(queue.Empty):
                item = self._events.get(timeout=1.0 if not gathered else _RETRY_SECONDS)
                if item is None:
                    is_open = False
                else:
                    gathered.append(item)
            if is_open and not self.strict:
                time.sleep(GATHER_SECONDS)
            while True:
                try:
                    item = self._events.get_nowait()
                except queue.Empty:
                    break
                if item is None:
                    is_open = False
                else:
                    gathered.append(item)
            if not is_open or time.monotonic() - refused_at >= 1:
                refused_at = time.monotonic()
                gathered += ((event, None) for event in self._take_refused())
            gathered = self._commit(gathered, last=not is_open)
            if self._prunes and self.failure is None and time.monotonic() - self._pruned_at >= PRUNE_SECONDS:
                self._prune()
        self._chain.close()

    def _prune(self) -> None:
        self._pruned_at = time.monotonic()
        try:
            self._chain.prune()
        except OSError as error:  # it is tried again: what was to be removed is still there
            logger.error("older events of the audit log cannot be removed: %s", error)

    def _commit(
        self, gathered: list[tuple[dict[str, Any], OnDurable | None]], last: bool
    ) -> list[tuple[dict[str, Any], OnDurable | None]]:
        """Writes them; returns what is to be tried again."""
        mark = self._chain.mark
        if self.lost and gathered:
            self._chain.append({"event": "lost", "count": self.lost})
        for event, _ in gathered:
            self._chain.append(event)
        self._chain.append_checkpoint_when_due(now=last)
        try:
            self._chain.commit()
        except OSError as error:
            self.failure = error.strerror or str(error)
            self._chain.forget_since(mark)
            waiting = [item for item in gathered if item[1] is None]
            for _, on_durable in gathered:
                if on_durable is not None:
                    on_durable(False)
            if last or len(waiting) > _MOST_PENDING:
                self.lost += len(waiting)
                return []
            return waiting
        self.failure = None
        if gathered:
            self.lost = 0
        for _, on_durable in gathered:
            if on_durable is not None:
                on_durable(True)
        return []

    def close(self) -> None:
        """Writes what is there, with a checkpoint, and ends the thread."""
        self._events.put(None)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
