"""Inputs as pieces that can be left out: words of a text, patches of a picture, features of a table's row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgumentError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..predict.signature import TensorSpec

# A character of Chinese or Japanese, a word with its apostrophes, or anything else that is no space.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_]+(?:['’][^\W_]+)*|[^\s]")
GRID = 7  # patches a side
_MAX_SINGLE = 256  # numbers of an array that are features of their own
_BLOCKS = 64  # of a longer one


class Words:
    """A text's words; signs are words too. What is left out is deleted; a text of nothing is a space."""

    def __init__(self, text: str, segments: int | None = None, keep: tuple[int, int] | None = None) -> None:
        """`segments`: neighbours become so many pieces at most. `keep`: a span of characters that always stays."""
        import numpy as np

        spans = [match.span() for match in _WORD.finditer(text)]
        if keep is not None:
            spans = [span for span in spans if span[1] <= keep[0] or span[0] >= keep[1]]
        if not spans:
            raise InvalidArgumentError(f"the text {text[:40]!r} has no words to attribute anything to")
        groups = np.array_split(np.arange(len(spans)), min(segments or len(spans), len(spans)))
        self.text = text
        self._keep = keep
        self._members = [[spans[i] for i in group] for group in groups]
        self.spans = [(members[0][0], members[-1][1]) for members in self._members]
        self.names = [text[start:end] for start, end in self.spans]

    def __len__(self) -> int:
        return len(self.spans)

    def without(self, mask: Sequence[bool] | NDArray[np.bool_]) -> str:
        """The text with those pieces alone."""
        return self.place_without(mask)[0]

    def place_without(self, mask: Sequence[bool] | NDArray[np.bool_]) -> tuple[str, tuple[int, int]]:
        """The same, and where in it the kept span is."""
        parts: list[str] = []
        done, removed = 0, 0
        for present, members in zip(mask, self._members, strict=True):
            if present:
                continue
            for start, end in members:
                parts.append(self.text[done:start])
                done = end
                if self._keep is not None and end <= self._keep[0]:
                    removed += end - start
        parts.append(self.text[done:])
        start, end = self._keep or (0, 0)
        return "".join(parts) or " ", (start - removed, end - removed)


def patches(height: int, width: int, segments: int | None = None) -> NDArray[np.int64]:
    """The number of the patch that each pixel lies in: int [height, width], row by row of a grid that is as fine as
    `segments` allows (49 by default)."""
    import numpy as np

    side = GRID if segments is None else max(1, int(segments**0.5))
    rows, columns = min(side, height), min(side, width)
    down, across = np.arange(height) * rows // height, np.arange(width) * columns // width
    return np.asarray(down[:, None] * columns + across)


def without_patches(
    picture: NDArray[Any], groups: NDArray[np.int64], mask: NDArray[np.bool_]
) -> NDArray[Any]:
    """A picture [channels, height, width] whose missing patches have its mean colour."""
    import numpy as np

    mean = picture.mean(axis=(1, 2), keepdims=True)
    return np.where(mask[groups], picture, mean).astype(picture.dtype)


class Fields:
    """An item of a function or a model of tensors: a dict of values, or a list of numbers.

    Each number, text or truth value is a piece; of an array each of its numbers, and where these are more than 256 a
    block, or a patch of its last two axes. What is left out has the baseline's value.
    """

    def __init__(
        self, item: Any, baseline: Any, specs: Sequence[TensorSpec] = (), segments: int | None = None
    ) -> None:
        import numpy as np

        self.is_list = not isinstance(item, Mapping)
        if self.is_list and not (isinstance(item, (list, tuple, np.ndarray)) and len(item)):
            raise InvalidArgumentError(
                f"an item of type {type(item).__name__} has no features: explain a dict of values, a list of numbers, "
                "or a text"
            )
        values = {"": item} if self.is_list else dict(item)
        kinds = {spec.name: spec for spec in specs}
        self.names: list[str] = []
        self.values: list[Any] = []
        self._item: dict[str, NDArray[Any]] = {}
        self._baseline: dict[str, NDArray[Any]] = {}
        self._groups: dict[str, NDArray[np.int64] | None] = {}
        given = {} if baseline is None else {"": baseline} if self.is_list else dict(baseline)
        if unlike := set(given) - set(values):
            raise InvalidArgumentError(f"baseline: {min(unlike)!r} is no input of the item")
        for name, value in values.items():
            spec = kinds.get(name)
            array = _array(name, value, spec)
            if spec is not None and spec.mask_of is not None:
                self._item[name], self._groups[name] = array, None
                continue
            base = _zero(array, spec) if name not in given else _array(name, given[name], spec)
            if base.shape != array.shape:
                raise InvalidArgumentError(
                    f"baseline: {name!r} has the shape {list(base.shape)}, and the item's has {list(array.shape)}"
                )
            groups, names = _groups(name, array, segments)
            self._item[name], self._baseline[name] = array, base
            self._groups[name] = groups + len(self.names)
            self.names += names
            flat, places = array.ravel(), groups.ravel()
            singles = len(names) == array.size
            self.values += [_plain(flat[i]) for i in np.argsort(places)] if singles else [None] * len(names)
        # Of the one array that is a picture, the patch of each number; else None.
        self.grid = None
        arrays = [(n, g) for n, g in self._groups.items() if g is not None]
        if len(arrays) == 1 and arrays[0][1].ndim >= 2:
            self.grid = arrays[0][1]
            self.picture = self._item[arrays[0][0]]

    def __len__(self) -> int:
        return len(self.names)

    def without(self, mask: NDArray[np.bool_]) -> Any:
        """The item with those pieces alone, in the kind that it was given in."""
        import numpy as np

        found: dict[str, Any] = {}
        for name, array in self._item.items():
            groups = self._groups[name]
            value = array if groups is None else np.where(mask[groups], array, self._baseline[name])
            found[name] = _plain(value) if value.ndim == 0 else value
        return found[""].tolist() if self.is_list else found


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _array(name: str, value: Any, spec: TensorSpec | None) -> NDArray[Any]:
    import numpy as np

    if spec is not None:
        return np.asarray(spec.read([value])[0], dtype=spec.numpy_dtype)
    array = np.asarray(value, dtype=object if isinstance(value, (str, bytes)) else None)
    if array.dtype.kind not in "buifO" or (array.dtype == object and not isinstance(value, (str, bytes))):
        raise InvalidArgumentError(
            f"{name or 'the item'} is of type {type(value).__name__}: explain numbers, texts and arrays of numbers"
        )
    return array


def _zero(array: NDArray[Any], spec: TensorSpec | None) -> NDArray[Any]:
    """Nothing: padding, zero or the allowed number that is nearest to it, an empty text."""
    import numpy as np

    if array.dtype == object:
        empty: Any = b"" if spec is not None and spec.dtype == "bytes" else ""
        return np.full(array.shape, empty, dtype=object)
    fill = 0.0 if spec is None or spec.pad is None else spec.pad
    if spec is not None and spec.low is not None:
        fill = max(fill, spec.low)
    if spec is not None and spec.high is not None:
        fill = min(fill, spec.high)
    return np.full(array.shape, fill).astype(array.dtype)


def _groups(name: str, array: NDArray[Any], segments: int | None) -> tuple[NDArray[np.int64], list[str]]:
    """The piece that each number is part of, from 0, and the pieces' names."""
    import numpy as np

    if array.ndim == 0:
        return np.zeros((), np.int64), [name or "x"]
    name = name or "x"
    if array.size <= (segments or _MAX_SINGLE):
        places = np.arange(array.size).reshape(array.shape)
        return places, [f"{name}[{', '.join(map(str, index))}]" for index in np.ndindex(array.shape)]
    if array.ndim == 1:
        blocks = np.array_split(np.arange(array.size), segments or _BLOCKS)
        return np.repeat(np.arange(len(blocks)), [len(block) for block in blocks]), [
            f"{name}[{block[0]}:{block[-1] + 1}]" for block in blocks
        ]
    is_last = array.ndim == 2 or array.shape[-1] > 4  # channels stand first, or are few and last
    height, width = array.shape[-2:] if is_last else array.shape[-3:-1]
    grid = patches(height, width, segments)
    spread = grid if is_last else grid[..., None]
    names = []
    for number in range(int(grid.max()) + 1):
        rows, columns = np.nonzero(grid == number)
        names.append(f"{name}[{rows[0]}:{rows[-1] + 1}, {columns[0]}:{columns[-1] + 1}]")
    return np.broadcast_to(spread, array.shape), names
