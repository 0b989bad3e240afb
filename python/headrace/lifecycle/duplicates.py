"""Finding rows that say the same, in any number of files, in bounded memory.

Each row leaves a record of 32 bytes in one of 64 temporary files, chosen by the hash of its text; equal texts meet in
one file, and a file is sorted at a time.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RECORD = np.dtype([("hash", "<u8"), ("row", "<i8"), ("label", "<i8"), ("source", "<i8")])
_FILES = 64


def text_hash(text: str) -> int:
    """64 bits of a text, equal for texts that differ in spaces and case alone."""
    plain = " ".join(text.lower().split())
    return int.from_bytes(
        hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little"
    )


class DuplicateFinder:
    """Takes rows, then gives the groups of those whose texts are the same. A context: it owns temporary files."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._files: list[Any] = []

    def __enter__(self) -> DuplicateFinder:
        self._files = [self._stack.enter_context(tempfile.TemporaryFile()) for _ in range(_FILES)]  # noqa: SIM115
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(self, hashes: list[int], rows: list[int], labels: list[int], source: int = 0) -> None:
        """Takes rows of file number `source`; a label is any number, the same for the same label."""
        if not hashes:
            return
        records = np.zeros(len(hashes), _RECORD)
        records["hash"], records["row"], records["label"], records["source"] = hashes, rows, labels, source
        places = records["hash"] >> np.uint64(58)
        order = np.argsort(places, kind="stable")
        bounds = np.searchsorted(places[order], np.arange(_FILES + 1, dtype=np.uint64))
        for i, file in enumerate(self._files):
            if bounds[i] < bounds[i + 1]:
                file.write(records[order[bounds[i] : bounds[i + 1]]].tobytes())

    def groups(self) -> Iterator[NDArray[Any]]:
        """Records (hash, row, label, source) of rows with one text, two or more, in order of source and row."""
        for file in self._files:
            file.seek(0)
            records = np.frombuffer(file.read(), _RECORD)
            if not len(records):
                continue
            records = records[np.lexsort((records["row"], records["source"], records["hash"]))]
            starts = np.flatnonzero(np.r_[True, records["hash"][1:] != records["hash"][:-1]])
            ends = np.r_[starts[1:], len(records)]
            for start, end in zip(starts, ends, strict=True):
                if end - start > 1:
                    yield records[start:end]
