"""Example inputs of a model: arrays by name, each with a row for each item, and what they tell of its tensors."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgumentError
from ..predict.signature import DATATYPES, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

Arrays = dict[str, "NDArray[Any]"]
_MAX_ROWS = 256


def read_file(path: Path) -> Any:
    """Examples in a file: .npz, .npy, or .json with lists by name. InvalidArgumentError for anything else."""
    import numpy as np

    try:
        if path.suffix == ".json":
            found = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(found, dict):
                raise ValueError("it must be an object: a list for each input's name")
            return found
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"--example {path}: {error}") from None
    raise InvalidArgumentError(f"--example {path}: must be a file of the kind .npz, .npy or .json")


def as_arrays(given: Any, names: Sequence[str] = ()) -> Arrays:
    """Arrays by name, all with as many rows.

    Args:
        given: a mapping; or one array, a list of them, or a pandas DataFrame whose columns are inputs.
        names: what the model calls its inputs, for those that come without names.
    """
    if hasattr(given, "columns") and hasattr(given, "to_numpy"):
        found = {str(name): _array(str(name), given[name].to_numpy()) for name in given.columns}
    elif isinstance(given, Mapping):
        found = {str(name): _array(str(name), value) for name, value in given.items()}
        if names and set(found) <= set(names):
            found = {name: found[name] for name in names if name in found}
    else:
        values = list(given) if isinstance(given, tuple) else [given]
        known = [*names, "x"] if len(values) == 1 else [*names]
        if len(known) < len(values):
            raise InvalidArgumentError(f"example_inputs: {len(values)} arrays: name them, in a dict")
        found = {name: _array(name, value) for name, value in zip(known, values, strict=False)}
    counts = {name: len(array) if array.ndim else 0 for name, array in found.items()}
    if not found or min(counts.values()) < 1 or len(set(counts.values())) != 1:
        raise InvalidArgumentError(
            f"example_inputs: rows of each input: {counts}: must be one number of rows, at least 1, for all of them"
        )
    return {name: array[:_MAX_ROWS] for name, array in found.items()}


def _array(name: str, value: Any) -> NDArray[Any]:
    import numpy as np

    if hasattr(value, "detach"):  # a torch tensor
        value = value.detach().cpu().numpy()
    try:
        array = np.asarray(value)
    except ValueError:
        raise InvalidArgumentError(f"example_inputs: the rows of {name!r} differ in length") from None
    if array.dtype.kind in "USO":
        if not all(isinstance(item, str) for item in array.flat):
            raise InvalidArgumentError(f"example_inputs: {name!r} holds neither numbers nor texts")
        return array.astype(object)
    if array.dtype == np.float64:
        return array.astype(np.float32)
    if array.dtype.name not in DATATYPES:
        raise InvalidArgumentError(f"example_inputs: {name!r} holds {array.dtype}")
    return array


def spec_of(name: str, array: NDArray[Any], said: Any = None) -> TensorSpec:
    """As the example has it, with what is said beyond it: a text such as "int64[?]", a table or a TensorSpec.

    InvalidArgumentError where the two contradict each other.
    """
    dtype = "str" if array.dtype == object else array.dtype.name
    if said is None:
        return TensorSpec(name, dtype, array.shape[1:])
    if isinstance(said, Mapping):
        said = {"dtype": dtype, "shape": array.shape[1:], **said}
    spec = TensorSpec.parse(name, said)
    fits = len(spec.shape) == array.ndim - 1 and all(
        wanted in (None, size) for wanted, size in zip(spec.shape, array.shape[1:], strict=False)
    )
    if spec.dtype != dtype or not fits:
        raise InvalidArgumentError(
            f"inputs: {name!r} is said to be {spec}; the example has {TensorSpec(name, dtype, array.shape[1:])}"
        )
    return spec


def parameter_names(function: Any) -> list[str]:
    """Of a function's positional parameters."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def difference(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """The largest of |found - expected| / max(1, |expected|); infinity where they are no numbers and differ, or
    differ in shape."""
    import numpy as np

    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        return float("inf")
    if expected.dtype.kind not in "fc":
        return 0.0 if np.array_equal(found, expected) else float("inf")
    one, other = found.astype(np.float64), expected.astype(np.float64)
    alike = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore"):
        apart = np.where(alike, 0.0, np.abs(one - other) / np.maximum(1.0, np.abs(other)))
    return float(np.nan_to_num(apart, nan=np.inf).max(initial=0.0))
