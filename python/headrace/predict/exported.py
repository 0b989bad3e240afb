"""What a torch.export program asks of its inputs, checked before it runs.

Compiled, it does not check for itself: an id beyond an embedding's rows ends the process, and numbers of another dtype
or order in memory give wrong answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgumentError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SOFT_LOW = 2  # torch's own lower end of any dynamic axis; such a program takes 1 as well
# What reads rows of its first argument, and where among its arguments the rows' numbers are.
_LOOKUPS = {"aten.embedding.default": 1, "aten.embedding_bag.padding_idx": 1, "aten.embedding_bag.default": 1,
            "aten._embedding_bag.default": 1, "aten._embedding_bag_forward_only.default": 1,
            "aten.index.Tensor": 1, "aten.index_select.default": 2}  # fmt: skip
# What leaves ids as they are.
_SAME_IDS = {
    f"aten.{name}"
    for name in ("view", "reshape", "flatten", "unsqueeze", "squeeze", "to", "_to_copy", "transpose", "permute",
                 "contiguous", "slice", "clone", "expand")
}  # fmt: skip


@dataclass(frozen=True)
class Axis:
    """One axis: its size, or between `low` and `high` (None: any), the same wherever `symbol` is."""

    low: int
    high: int | None
    symbol: str | None = None


@dataclass(frozen=True)
class ProgramInput:
    """An input; `ids` is how many rows the smallest table has that it is looked up in, from the end too where
    `from_end`."""

    dtype: str
    axes: tuple[Axis, ...]
    ids: int | None = None
    from_end: bool = False


def inputs_of(program: Any) -> list[ProgramInput]:
    """Those of a torch.export.ExportedProgram, in its order. InvalidArgumentError for one that is no tensor."""
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    sizes = {
        spec.arg.name: len(program.state_dict[spec.target])
        for spec in program.graph_signature.input_specs
        if spec.target in program.state_dict and program.state_dict[spec.target].ndim
    }
    found = []
    for name in program.graph_signature.user_inputs:
        value: Any = nodes[name].meta.get("val") if isinstance(name, str) and name in nodes else None
        if not hasattr(value, "dtype"):
            raise InvalidArgumentError(f"its input {name!r} is no tensor: export it with tensors alone")
        axes = tuple(_axis(size, program.range_constraints) for size in value.shape)
        dtype = str(value.dtype).removeprefix("torch.")
        tables = [] if value.dtype.is_floating_point else _tables(nodes[name], sizes)
        ids = min((rows for rows, _ in tables), default=None)
        found.append(ProgramInput(dtype, axes, ids, bool(tables) and all(also for _, also in tables)))
    return found


def _axis(size: Any, ranges: Mapping[Any, Any]) -> Axis:
    if isinstance(size, int):
        return Axis(size, size)
    expression = size.node.expr
    reach = ranges.get(expression)
    if reach is None:  # such as twice another axis: that is its own to check
        return Axis(0, None)
    low = int(reach.lower) if reach.lower > _SOFT_LOW else 1
    return Axis(low, int(reach.upper) if reach.upper.is_Integer else None, str(expression))


def _tables(node: Any, sizes: Mapping[str, int]) -> list[tuple[int, bool]]:
    """The rows of each table that is read at the places this node has, and whether they count from its end too."""
    found = []
    for user in node.users:
        target = str(user.target)
        if target in _LOOKUPS and getattr(user.args[0], "name", None) in sizes:
            places = user.args[_LOOKUPS[target]]
            is_list = isinstance(places, (list, tuple))
            if (places[0] if is_list else places) is node and (
                len(user.args) < 3 or user.args[1] in (node, 0)
            ):
                found.append((sizes[user.args[0].name], is_list))
        elif target.rpartition(".")[0] in _SAME_IDS and user.args[0] is node:
            found += _tables(user, sizes)
    return found


def check_said(inputs: Sequence[ProgramInput], said: Sequence[tuple[str, str, Sequence[int | None]]]) -> None:
    """InvalidArgumentError where headrace.toml says what the program does not take.

    Args:
        said: name, dtype and shape of one item for each input.
    """
    if len(inputs) != len(said):
        raise InvalidArgumentError(
            f"headrace.toml has {len(said)} inputs ({', '.join(name for name, _, _ in said)}); the program takes "
            f"{len(inputs)}, in its own order"
        )
    for own, (name, dtype, shape) in zip(inputs, said, strict=True):
        fits = len(own.axes) == len(shape) + 1 and all(
            size is None or (axis.low <= size and (axis.high is None or size <= axis.high))
            for size, axis in zip(shape, own.axes[1:], strict=False)
        )
        if own.dtype != dtype or not fits:
            raise InvalidArgumentError(
                f"headrace.toml says {dtype}{_shown(shape)} of {name!r}; the program takes {own.dtype}"
                f"{_shown([axis.low if axis.low == axis.high else None for axis in own.axes[1:]])} of each item"
            )


def _shown(shape: Sequence[int | None]) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"


def batch_of(inputs: Sequence[ProgramInput]) -> tuple[int, int | None]:
    """The fewest and the most items that one run takes."""
    highs = [own.axes[0].high for own in inputs if own.axes and own.axes[0].high is not None]
    return max((own.axes[0].low for own in inputs if own.axes), default=1), min(highs, default=None)


def check(inputs: Sequence[ProgramInput], tensors: Mapping[str, NDArray[Any]]) -> None:
    """InvalidArgumentError for sizes and ids that the program must not be given; the batch's axis is not looked at."""
    seen: dict[str, tuple[str, int]] = {}
    for own, (name, array) in zip(inputs, tensors.items(), strict=True):
        if array.dtype != own.dtype or array.ndim != len(own.axes):
            raise InvalidArgumentError(
                f"{name}: it has {array.ndim} axes of {array.dtype}: must have {len(own.axes)} of {own.dtype}"
            )
        for place, (axis, size) in enumerate(zip(own.axes[1:], array.shape[1:], strict=True), 1):
            if size < axis.low or (axis.high is not None and size > axis.high):
                high = "any" if axis.high is None else axis.high
                raise InvalidArgumentError(
                    f"{name}: axis {place} has the size {size}: the program was exported for {axis.low} to {high}"
                )
            if axis.symbol is not None and seen.setdefault(axis.symbol, (name, size))[1] != size:
                raise InvalidArgumentError(
                    f"{name}: axis {place} has the size {size}, and {seen[axis.symbol][0]}'s is "
                    f"{seen[axis.symbol][1]}: they must be the same"
                )
        if own.ids is not None and array.size:
            low = -own.ids if own.from_end else 0
            if array.min() < low or array.max() >= own.ids:
                raise InvalidArgumentError(
                    f"{name}: holds {array.min()} to {array.max()}: must lie between {low} and {own.ids - 1}"
                )
