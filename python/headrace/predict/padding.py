"""Items of different sizes in one array: shorter ones are filled up, and a mask says what is their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgumentError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .work import Tensors


def padded(name: str, value: Any, axes: int, fill: float) -> tuple[Any, list[tuple[int, ...]] | None]:
    """`value` as one array [n, ...] where its rows differ in size, with each row's own size; itself, and None, where
    it is none of rows.

    Args:
        axes: how many each row has. InvalidArgumentError for rows with more or fewer, or ragged in themselves.
        fill: what stands behind shorter rows.
    """
    import numpy as np

    if not isinstance(value, (list, tuple)) or not value:
        return value, None
    try:
        rows = [np.asarray(row) for row in value]
    except ValueError:
        rows = []
    if any(row.ndim != axes for row in rows) or not rows:
        raise InvalidArgumentError(f"{name}: each item must have {axes} axes, and rows of one length in each")
    sizes = [row.shape for row in rows]
    if len(set(sizes)) == 1:
        return np.stack(rows), sizes
    # The largest of each axis. An empty list would make numpy guess float64.
    shape = tuple(max(size[axis] for size in sizes) for axis in range(axes))
    found = np.full(
        (len(rows), *shape), fill, dtype=np.result_type(*[row for row in rows if row.size] or rows)
    )
    for place, row in zip(found, rows, strict=True):
        place[tuple(slice(size) for size in row.shape)] = row
    return found, sizes


def mask(sizes: Sequence[tuple[int, ...]], axes: int, dtype: str) -> NDArray[Any]:
    """[n, longest, ...] over the first `axes` axes of the rows: 1 for what is an item's own, else 0."""
    import numpy as np

    shape = tuple(max(size[axis] for size in sizes) for axis in range(axes))
    found = np.zeros((len(sizes), *shape), dtype=dtype)
    for place, size in zip(found, sizes, strict=True):
        place[tuple(slice(each) for each in size[:axes])] = 1
    return found


def joined(parts: Sequence[NDArray[Any]], fill: float) -> NDArray[Any]:
    """Several requests' rows, each request's filled up to the largest sizes among them."""
    import numpy as np

    shape = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
    if all(list(part.shape[1:]) == shape for part in parts):
        return np.concatenate(parts)
    found = np.full((sum(map(len, parts)), *shape), fill, dtype=parts[0].dtype)
    at = 0
    for part in parts:
        found[(slice(at, at + len(part)), *(slice(size) for size in part.shape[1:]))] = part
        at += len(part)
    return found


def in_batches(run: Callable[[Tensors], Any], tensors: Tensors, least: int, most: int | None) -> Any:
    """What `run` gives for all rows, where it takes from `least` to `most` (None: any number) of them at a time.

    Args:
        run: arrays by name in, a mapping or a tuple of arrays out. The last row fills up what is too small.
    """
    import numpy as np

    count = len(next(iter(tensors.values())))
    if least <= count and (most is None or count <= most):
        return run(tensors)
    size = most or least
    parts: list[Any] = []
    for start in range(0, count, size):
        part = {name: array[start : start + size] for name, array in tensors.items()}
        missing = least - (min(count, start + size) - start)
        if missing > 0:
            part = {
                name: np.concatenate([array, np.repeat(array[-1:], missing, axis=0)])
                for name, array in part.items()
            }
        parts.append(run(part))
    if isinstance(parts[0], Mapping):
        return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}
    return tuple(np.concatenate(same)[:count] for same in zip(*parts, strict=True))
