"""Sequences of different length, on disk, and the order in which they train: with little padding, repeatable."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Sequences:
    """Lists of int32 in a temporary file; the memory that they take is the system's cache of it, and 8 bytes each.

    >>> sequences = Sequences([[1, 2, 3], [4]])
    >>> len(sequences), sequences[0].tolist(), sequences.lengths.tolist()
    (2, [1, 2, 3], [3, 1])
    """

    def __init__(self, lists: Iterable[Sequence[int]], folder: Path | None = None) -> None:
        # Unlinked at once: nothing is left behind whatever ends the process.
        with tempfile.TemporaryFile(dir=folder) as file:
            lengths = []
            for one in lists:
                values = np.asarray(one, dtype=np.int32)
                lengths.append(len(values))
                file.write(values.tobytes())
            file.flush()
            self.lengths = np.array(lengths, dtype=np.int64)
            self._starts = np.r_[0, np.cumsum(self.lengths)]
            total = int(self._starts[-1])
            self._values: NDArray[np.int32] = (
                np.memmap(file, dtype=np.int32, mode="r", shape=(total,)) if total else np.empty(0, np.int32)
            )

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, place: int) -> NDArray[np.int32]:
        return self._values[self._starts[place] : self._starts[place + 1]]

    def padded(self, places: Sequence[int] | NDArray[Any], padding: int) -> NDArray[np.int64]:
        """int64 [n, longest]: the lists side by side, each filled up on its right."""
        width = int(self.lengths[places].max())
        rows = np.full((len(places), width), padding, dtype=np.int64)
        for row, place in zip(rows, places, strict=True):
            row[: self.lengths[place]] = self[place]
        return rows


def epoch_order(
    lengths: NDArray[np.int64], batch: int, *, seed: int, epoch: int, grouped: bool = True
) -> list[NDArray[np.int64]]:
    """The batches of an epoch as places; a function of its arguments alone, so that a resumed run goes on exactly.

    Rows are shuffled, those of 50 batches sorted by length and cut into batches, and the batches shuffled again: a
    batch has rows of nearly one length, and an epoch no order of lengths.
    """
    chance = np.random.default_rng([seed, epoch])
    order = chance.permutation(len(lengths))
    if grouped:
        window = 50 * batch
        order = np.concatenate(
            [
                part[np.argsort(-lengths[part], kind="stable")]
                for part in (order[i : i + window] for i in range(0, len(order), window))
            ]
        )
    batches = [order[i : i + batch] for i in range(0, len(order), batch)]
    return [batches[i] for i in chance.permutation(len(batches))] if grouped else batches
