"""The tensors that a model takes and gives. Everything is checked before the model sees any of it: compiled models do
not check for themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgumentError, UnsupportedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# numpy's names, and those of the Open Inference Protocol.
DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "float16": "FP16", "float32": "FP32", "float64": "FP64",
    "str": "BYTES", "bytes": "BYTES",
}  # fmt: skip
_SPEC = re.compile(r"\s*([a-z0-9]+)\s*(?:\[([^\]]*)\])?\s*")


class WrongAnswerError(Exception):
    """A function gave something else than one answer for each item. What it says quotes no input."""


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of a model, as each item of a batch has it.

    Args:
        name: what the model calls it.
        dtype: "float32", "int64", "str", "bytes" and so on.
        shape: of one item, without the batch's axis; None for a size that may differ from request to request.
        low, high: the smallest and the largest number allowed, such as a vocabulary's ids; None: any.
        nan: "refuse" (NaN and infinity are no input) or "allow".
        pad: what shorter items of a batch are filled up with, so that items of different sizes run together; None: they
            run apart.
        mask_of: of an input that a request may leave out: 1 for what is an item's own of that padded input, else 0.
        cut_to: of an output with an entry for each of a padded input: that input's name; the rest is cut.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] = ()
    low: float | None = None
    high: float | None = None
    nan: str = "refuse"
    pad: float | None = None
    mask_of: str | None = None
    cut_to: str | None = None

    def __post_init__(self) -> None:
        if self.dtype not in DATATYPES:
            raise InvalidArgumentError(
                f"{self.name}: dtype {self.dtype!r}: must be one of {', '.join(DATATYPES)}"
            )
        if any(size is not None and size < 1 for size in self.shape):
            raise InvalidArgumentError(f"{self.name}: shape {self.shape}: sizes are at least 1, or None")
        if not all(
            bound is None or isinstance(bound, (int, float)) for bound in (self.low, self.high, self.pad)
        ):
            raise InvalidArgumentError(f"{self.name}: low, high and pad must be numbers")
        if self.nan not in ("refuse", "allow"):
            raise InvalidArgumentError(f"{self.name}: nan={self.nan!r}: must be 'refuse' or 'allow'")
        if self.pad is not None and (self.datatype == "BYTES" or None not in self.shape):
            raise InvalidArgumentError(
                f"{self.name}: pad={self.pad!r}: is for numbers with a size that may differ, such as int64[?]; this is "
                f"{self}"
            )

    @classmethod
    def parse(cls, name: str, given: TensorSpec | str | Mapping[str, Any]) -> TensorSpec:
        """From "float32[3, ?, ?]" (of one item; ? is any size), a mapping of the fields, or itself.

        >>> TensorSpec.parse("x", "float32[3, ?]")
        TensorSpec(name='x', dtype='float32', shape=(3, None), low=None, high=None, nan='refuse', pad=None, ...)
        """
        if isinstance(given, TensorSpec):
            return given
        try:
            if isinstance(given, Mapping):
                fields = dict(given)
                shape = tuple(
                    None if size in ("?", None, -1) else int(size) for size in fields.pop("shape", ())
                )
                return cls(name, shape=shape, **fields)
            found = _SPEC.fullmatch(given)
            if found is None:
                raise ValueError
            sizes = [size.strip() for size in (found[2] or "").split(",") if size.strip()]
            return cls(name, found[1], tuple(None if size == "?" else int(size) for size in sizes))
        except InvalidArgumentError:
            raise
        except (TypeError, ValueError):
            raise InvalidArgumentError(
                f"{name}: {given!r}: must be a dtype with the shape of one item, such as 'float32[3, ?, ?]', 'int64' "
                "or 'str', or a table with dtype, shape, low, high, nan, pad and mask_of"
            ) from None

    @property
    def datatype(self) -> str:
        """As the Open Inference Protocol calls it."""
        return DATATYPES[self.dtype]

    @property
    def numpy_dtype(self) -> Any:
        import numpy as np

        return np.dtype(object if self.datatype == "BYTES" else self.dtype)

    def __str__(self) -> str:
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.dtype}[{sizes}]" if sizes else self.dtype

    def read(self, value: Any, items: int | None = None) -> NDArray[Any]:
        """`value` as a contiguous array [n, *shape], or with `items` for n. InvalidArgumentError for what is none."""
        import numpy as np

        # numpy's own type for bytes drops zeros at their end.
        is_listed = self.datatype == "BYTES" and isinstance(value, (list, tuple))
        try:
            array = np.asarray(value, dtype=object if is_listed else None)
        except (TypeError, ValueError):
            raise InvalidArgumentError(
                f"{self.name}: its rows have different lengths; expected {self}"
            ) from None
        if self.datatype == "BYTES":
            array = self._texts(array)
        elif array.dtype != self.dtype:
            array = self._converted(array)
        if array.ndim != len(self.shape) + 1 or not all(
            wanted in (None, size) for wanted, size in zip(self.shape, array.shape[1:], strict=False)
        ):
            wanted = ["n", *("?" if size is None else str(size) for size in self.shape)]
            raise InvalidArgumentError(
                f"{self.name}: the shape is {list(array.shape)}: must be [{', '.join(wanted)}]"
            )
        if len(array) < 1 or (items is not None and len(array) != items):
            wanted_items = "at least 1" if items is None else f"{items}, as many as the others have"
            raise InvalidArgumentError(f"{self.name}: it holds {len(array)} items: must be {wanted_items}")
        self._check_numbers(array)
        return np.ascontiguousarray(array)

    def _texts(self, array: NDArray[Any]) -> NDArray[Any]:
        kind = str if self.dtype == "str" else bytes
        found = array.astype(object)
        if array.dtype.kind not in "USO" or not all(isinstance(item, kind) for item in found.flat):
            raise InvalidArgumentError(f"{self.name}: must hold {kind.__name__} alone")
        return found

    def _converted(self, array: NDArray[Any]) -> NDArray[Any]:
        """As the spec's dtype, where no number changes by more than its rounding."""
        import numpy as np

        wanted = np.dtype(self.dtype)
        kinds = {"b": "b", "u": "bui", "i": "bui", "f": "buif"}[wanted.kind]
        if array.dtype.kind not in kinds:
            raise InvalidArgumentError(f"{self.name}: holds {array.dtype}; expected {self}")
        if wanted.kind in "ui" and array.size:
            limits = np.iinfo(wanted)
            if array.min() < limits.min or array.max() > limits.max:
                raise InvalidArgumentError(
                    f"{self.name}: holds {array.min()} to {array.max()}: {self.dtype} is {limits.min} to {limits.max}"
                )
        with np.errstate(over="ignore"):  # becomes infinite, which is looked for
            return array.astype(wanted)

    def _check_numbers(self, array: NDArray[Any]) -> None:
        import numpy as np

        if array.dtype.kind == "f" and self.nan == "refuse" and not np.isfinite(array).all():
            place = [int(i) for i in np.argwhere(~np.isfinite(array))[0]]
            raise InvalidArgumentError(
                f"{self.name}{place} is {array[tuple(place)]}: must be a number; this model takes no NaN or infinity"
            )
        for bound, is_outside in ((self.low, np.less), (self.high, np.greater)):
            if bound is not None and is_outside(array, bound).any():
                place = [int(i) for i in np.argwhere(is_outside(array, bound))[0]]
                low, high = ("any" if end is None else f"{end:.10g}" for end in (self.low, self.high))
                raise InvalidArgumentError(
                    f"{self.name}{place} is {array[tuple(place)]}: must lie between {low} and {high}"
                )


@dataclass(frozen=True)
class Signature:
    """The tensors of a model, in its own order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @classmethod
    def parse(cls, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Signature:
        """From mappings of names to what TensorSpec.parse takes."""
        if not inputs or not outputs:
            raise InvalidArgumentError(
                "inputs and outputs go together: name the tensors of both, or of neither"
            )
        read = [
            tuple(TensorSpec.parse(name, spec) for name, spec in each.items()) for each in (inputs, outputs)
        ]
        found = cls(*read)
        padded = {spec.name for spec in found.inputs if spec.pad is not None}
        for spec in (*found.inputs, *found.outputs):
            for name in (spec.mask_of, spec.cut_to):
                if name is not None and name not in padded:
                    raise InvalidArgumentError(
                        f"{spec.name}: {name!r} must be the name of an input that has pad; such are "
                        f"{', '.join(sorted(padded)) or 'none'}"
                    )
        return found

    @property
    def pads(self) -> dict[str, float]:
        """What padded inputs and their masks are filled up with, by name."""
        return {
            spec.name: 0 if spec.pad is None else spec.pad
            for spec in self.inputs
            if spec.pad is not None or spec.mask_of is not None
        }

    @property
    def cuts(self) -> dict[str, str]:
        """Outputs that are cut to an input's own size, with that input."""
        return {spec.name: spec.cut_to for spec in self.outputs if spec.cut_to is not None}

    def read(self, given: Mapping[str, Any]) -> tuple[dict[str, NDArray[Any]], int]:
        """Checked tensors and the number of their items. InvalidArgumentError for missing, unknown or unfit ones."""
        known = {spec.name for spec in self.inputs}
        if unknown := [name for name in given if name not in known]:
            raise InvalidArgumentError(
                f"this model has no input {unknown[0]!r}: its inputs are {self._names()}"
            )
        given, made = self._filled_up(given)
        if missing := [spec.name for spec in self.inputs if spec.name not in given]:
            raise InvalidArgumentError(
                f"the input {missing[0]!r} is missing: this model's inputs are {self._names()}"
            )
        tensors: dict[str, NDArray[Any]] = {}
        items: int | None = None
        for spec in self.inputs:
            tensors[spec.name] = given[spec.name] if spec.name in made else spec.read(given[spec.name], items)
            items = len(tensors[spec.name])
        assert items is not None
        return tensors, items

    def _names(self) -> str:
        return ", ".join(f"{spec.name} ({spec})" for spec in self.inputs)

    def _filled_up(self, given: Mapping[str, Any]) -> tuple[Mapping[str, Any], set[str]]:
        """With rows of different sizes as arrays, and with the masks that are left out; and the names of those."""
        if all(spec.pad is None for spec in self.inputs):
            return given, set()
        from . import padding

        found = dict(given)
        sizes: dict[str, list[tuple[int, ...]]] = {}
        for spec in self.inputs:
            if spec.name not in given or (spec.pad is None and spec.mask_of is None):
                continue
            fill = spec.pad or 0
            found[spec.name], rows = padding.padded(spec.name, given[spec.name], len(spec.shape), fill)
            if rows is None:  # whatever it is, it is looked at later
                shape: tuple[int, ...] = getattr(found[spec.name], "shape", ())
                rows = [tuple(shape[1:])] * shape[0] if len(shape) == len(spec.shape) + 1 else []
            sizes[spec.name] = rows
        made = set()
        for spec in self.inputs:
            if spec.mask_of is not None and spec.name not in given and sizes.get(spec.mask_of):
                found[spec.name] = padding.mask(sizes[spec.mask_of], len(spec.shape), spec.dtype)
                made.add(spec.name)
        return found, made

    def answer(self, given: Any, items: int) -> dict[str, NDArray[Any]]:
        """What a model gave, by name and with `items` rows; WrongAnswerError that says what is wrong with it."""
        import numpy as np

        if not isinstance(given, Mapping):
            given = given if isinstance(given, tuple) else (given,)
            if len(given) != len(self.outputs):
                raise WrongAnswerError(f"it gave {len(given)} tensors; its outputs are {len(self.outputs)}")
            given = {spec.name: value for spec, value in zip(self.outputs, given, strict=True)}
        found: dict[str, NDArray[Any]] = {}
        for spec in self.outputs:
            if spec.name not in given:
                raise WrongAnswerError(f"it gave no {spec.name!r}")
            array = np.asarray(given[spec.name])
            if array.ndim != len(spec.shape) + 1 or len(array) != items:
                raise WrongAnswerError(
                    f"{spec.name} has the shape {list(array.shape)}: expected {items} items of {spec}"
                )
            if array.dtype != spec.numpy_dtype:
                array = array.astype(spec.numpy_dtype)
            found[spec.name] = array
        return found


def numpy_dtype_of(datatype: str) -> np.dtype[Any]:
    """numpy's type for a datatype of the Open Inference Protocol but BYTES. UnsupportedError for others."""
    import numpy as np

    for name, known in DATATYPES.items():
        if known == datatype and known != "BYTES":
            return np.dtype(name)
    raise UnsupportedError(
        f"datatype {datatype[:16]!r}: known are {', '.join(dict.fromkeys(DATATYPES.values()))}"
    )
