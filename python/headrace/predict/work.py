"""One request: its items or tensors, and what comes back for them, in as many batches as the core makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

Tensors = dict[str, "NDArray[Any]"]
# Items, or tensors whose first axis is the batch.
Values = list[Any] | Tensors


class Work:
    """What the core's queue carries for a runner. Used by one thread at a time: who submits it, then who runs it."""

    __slots__ = ("_results", "count", "deaths", "error", "on_pieces", "shape", "values")

    def __init__(
        self,
        values: Sequence[Any] | Tensors,
        count: int,
        on_pieces: Callable[[list[Any]], bool] | None = None,
        pads: Mapping[str, float] | None = None,
    ) -> None:
        self.values = values
        self.count = count
        # Told of each list of pieces as it comes; False when nobody wants more.
        self.on_pieces = on_pieces
        self.error: BaseException | None = None  # what it failed with, as it was raised
        self.deaths = 0.0  # of workers that had it
        # Only tensors of the same sizes can lie in one array, but for padded ones.
        self.shape = (
            tuple(
                (array.ndim if pads and name in pads else array.shape[1:], array.dtype)
                for name, array in values.items()
            )
            if isinstance(values, dict)
            else ()
        )
        self._results: dict[int, Any] = {}

    def part(self, start: int, stop: int) -> Values:
        if isinstance(self.values, dict):
            return {name: array[start:stop] for name, array in self.values.items()}
        return list(self.values[start:stop])

    def put(self, start: int, results: Any) -> None:
        """What a batch gave for the items from `start` on."""
        self._results[start] = results

    def items(self) -> list[Any]:
        """One result for each item; it may be an exception."""
        return [result for start in sorted(self._results) for result in self._results[start]]

    def tensors(self) -> Tensors:
        """The outputs, each with a row for each item."""
        import numpy as np

        parts: list[Tensors] = [self._results[start] for start in sorted(self._results)]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def joined(parts: list[Values], pads: Mapping[str, float] | None = None) -> Values:
    """Several requests' values as one batch; of tensors with those in `pads` filled up to one size."""
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], dict):
        import numpy as np

        if pads:
            from . import padding

            return {
                name: padding.joined([part[name] for part in parts], pads.get(name, 0))  # type: ignore[call-overload]
                for name in parts[0]
            }
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}  # type: ignore[call-overload]
    return [item for part in parts for item in part]
