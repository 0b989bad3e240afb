"""Explaining functions and models of tensors: all evaluations of a request are the items of one call."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InvalidArgumentError
from .coalitions import Plan, plan
from .explanation import Explanation, Options, explained
from .jobs import check_request
from .pieces import Fields, Words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..loaded_model import Model, ModelInfo


class Target(NamedTuple):
    """Which number of an answer is explained: of the output `name` ("" of an answer without names) that at `place`."""

    name: str
    place: int
    told: str

    def value(self, answer: Any) -> float:
        import numpy as np

        return float(np.asarray(answer[self.name] if self.name else answer).ravel()[self.place])


class ItemsExplained:
    """The evaluations that the items of a request need: `items`, to be predicted together, in order."""

    def __init__(
        self, model: Model, given: Sequence[Any], options: Options, *, most: int | None = None
    ) -> None:
        """InvalidArgumentError for an item that has no pieces, and for more than `most` evaluations."""
        self._info = model.info
        self._options = options
        baseline, self._told = _baseline(model.info, options.baseline)
        self._pieces: list[Fields | Words] = []
        for item in given:
            if isinstance(item, str):
                self._pieces.append(Words(item, options.segments))
            elif model.info.inputs and not isinstance(item, Mapping):
                model._many([item])  # which says what is wrong with it
            else:
                known = _of_same_shape(baseline, item) if options.baseline is None else baseline
                self._pieces.append(Fields(item, known, model.info.inputs, options.segments))
        self._plans = [
            plan(len(each), options.method, options.max_evaluations, options.seed) for each in self._pieces
        ]
        check_request(self._plans, most)
        self.items = [
            pieces.without(mask)
            for pieces, each in zip(self._pieces, self._plans, strict=True)
            for mask in each.masks
        ]

    def answers(self, outputs: Sequence[Any]) -> list[Any]:
        """Of all evaluations' answers those to the items themselves."""
        return [outputs[begin] for begin, _ in self._bounds()]

    def explanations(self, outputs: Sequence[Any]) -> list[Explanation]:
        """One for each item."""
        found = []
        for pieces, each, (begin, end) in zip(self._pieces, self._plans, self._bounds(), strict=True):
            target = target_of(self._options.target, outputs[begin], self._info)
            values = [target.value(answer) for answer in outputs[begin:end]]
            found.append(self._explained(pieces, each, target, values))
        return found

    def _bounds(self) -> list[tuple[int, int]]:
        ends = [0]
        for each in self._plans:
            ends.append(ends[-1] + len(each.masks))
        return list(pairwise(ends))

    def _explained(
        self, pieces: Fields | Words, each: Plan, target: Target, values: list[float]
    ) -> Explanation:
        shown: dict[str, Any]
        if isinstance(pieces, Words):
            kind, told = "text", "the words deleted"
            shown = {"text": pieces.text, "spans": pieces.spans}
        elif pieces.grid is not None:
            kind, told = "image", self._told
            shown = {"picture": picture_of(pieces.picture), "groups": _flat(pieces.grid)}
        else:
            kind, told, shown = "features", self._told, {"values": pieces.values}
        return explained(
            each, values, kind=kind, target=target.told, names=pieces.names, baseline=told, **shown
        )


def target_of(target: str | int | None, answer: Any, info: ModelInfo) -> Target:
    """The number of an answer that is explained.

    Args:
        target: a label, an output's name, or a place in the one output; None: of the first output with more or less of
            something (floats), its largest number.
        answer: to the item itself.
        info: its labels stand for the places of the output that has as many.
    """
    import numpy as np

    outputs = {"": answer} if not isinstance(answer, Mapping) else answer
    arrays = {}
    for name, value in outputs.items():
        try:
            array = np.asarray(value)
        except ValueError:
            continue
        if array.dtype.kind in "fiub" and array.size:
            arrays[name] = array
    if not arrays:
        raise InvalidArgumentError("explain: the model's answer holds no number that could be explained")
    labels = list(info.labels)
    if isinstance(target, str) and target in arrays and arrays[target].size == 1:
        return Target(target, 0, target)
    named = {target: arrays[target]} if isinstance(target, str) and target in arrays else arrays
    # Scores are what there is more or less of; a label's number is not.
    name = next((n for n, a in named.items() if a.dtype.kind == "f"), next(iter(named)))
    if isinstance(target, str) and target in labels:
        fit = [n for n, a in arrays.items() if a.size == len(labels)]
        if not fit:
            raise InvalidArgumentError(f"target={target!r}: no output has a number for each label")
        return Target(fit[0], labels.index(target), target)
    array = arrays[name]
    if isinstance(target, int) and not isinstance(target, bool):
        if not 0 <= target < array.size:
            raise InvalidArgumentError(f"target={target}: the output has {array.size} numbers")
        index = target
    elif target is None or target in arrays:
        index = int(array.ravel().argmax())
    else:
        known = [*labels[:30], *(n for n in arrays if n)]
        raise InvalidArgumentError(
            f"target={target!r}: must be a number's place, or one of {', '.join(known) or 'no names'}"
        )
    if array.size == 1:
        return Target(name, 0, name or "output")
    return Target(
        name,
        index,
        labels[index] if array.size == len(labels) else f"{name or 'output'}[{index}]",
    )


def _baseline(info: ModelInfo, given: Any) -> tuple[Any, str]:
    """What stands for nothing, and how it is called."""
    if given is not None:
        return given, "the baseline given"
    try:
        path = Path(info.path) / "golden.json"
        rows = json.loads(path.read_text(encoding="utf-8"))["inputs"] if info.path else []
    except (OSError, ValueError, KeyError, TypeError):
        rows = []
    found = {}
    for spec in info.inputs:
        values = [row[spec.name] for row in rows if isinstance(row, dict) and spec.name in row]
        middle = _middle(values, spec.dtype)
        if middle is not None:
            found[spec.name] = middle
    return (found, "the mean of the model's examples") if found else (None, "zeros")


def _middle(values: list[Any], dtype: str) -> Any:
    """The mean of numbers, rounded where they are whole; of anything else the most frequent one. None where the
    values differ in shape."""
    import numpy as np

    if not values:
        return None
    try:
        array = np.asarray(values)
    except ValueError:
        return None
    if array.dtype.kind in "iuf" and dtype != "bool":
        mean = array.mean(axis=0)
        return mean if dtype.startswith("float") else np.rint(mean).astype(np.dtype(dtype))
    if array.ndim == 1:
        names, counts = np.unique(array, return_counts=True)
        return names[counts.argmax()].item()
    return None


def _of_same_shape(baseline: Any, item: Any) -> Any:
    """Those values of a mean that can stand for the item's own."""
    import numpy as np

    if not isinstance(baseline, Mapping) or not isinstance(item, Mapping):
        return baseline
    return {
        name: value for name, value in baseline.items()
        if name in item and np.shape(value) == np.shape(item[name])
    }  # fmt: skip


def picture_of(array: NDArray[Any]) -> NDArray[np.uint8]:
    """An array of two or more axes as a picture, its smallest number black and its largest white."""
    import numpy as np

    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[-1] > 4:
        array = array.transpose(1, 2, 0)
    if array.ndim == 2:
        array = array[..., None]
    while array.ndim > 3:
        array = array[0]
    low, high = float(array.min()), float(array.max())
    scaled = (array.astype(np.float32) - low) * (255 / ((high - low) or 1.0))
    return np.asarray(np.broadcast_to(scaled[..., :3] if scaled.shape[-1] == 3 else scaled[..., :1],
                                      (*scaled.shape[:2], 3)), np.uint8)  # fmt: skip


def _flat(grid: NDArray[np.int64]) -> NDArray[np.int64]:
    """The piece of each pixel, of an array with channels."""
    if grid.ndim == 2:
        return grid
    return grid[..., 0] if grid.shape[-1] <= 4 else grid.reshape(-1, *grid.shape[-2:])[0]
