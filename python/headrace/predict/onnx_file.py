"""What an ONNX file holds, read and checked before onnxruntime sees any of it.

Refused: files that are cut off or no ONNX; tensors whose sizes are not those of their data; data files outside the
model's folder; operators that would need a library of their own; shapes that would fill the memory at load.

onnx.proto of github.com/onnx/onnx; the numbers below are its field numbers.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import CorruptFileError, ModelNotFoundError, UnsupportedError
from .protobuf import fields, message, number, signed, text, varints

_MAX_SIZE = 1 << 31  # of one axis
_MAX_ELEMENTS = 1 << 31  # of what an operator fills with one value
_MAX_DEPTH = 32  # of graphs in graphs
_MAX_SHAPE_BYTES = 1 << 10  # tensors up to this size are looked at as shapes
# onnx's number of a type -> (numpy's name, or None where no array has it; bits of an element)
_TYPES: dict[int, tuple[str | None, int]] = {
    1: ("float32", 32), 2: ("uint8", 8), 3: ("int8", 8), 4: ("uint16", 16), 5: ("int16", 16), 6: ("int32", 32),
    7: ("int64", 64), 8: ("str", 0), 9: ("bool", 8), 10: ("float16", 16), 11: ("float64", 64), 12: ("uint32", 32),
    13: ("uint64", 64), 14: (None, 64), 15: (None, 128), 16: (None, 16), 17: (None, 8), 18: (None, 8), 19: (None, 8),
    20: (None, 8), 21: (None, 4), 22: (None, 4), 23: (None, 4), 24: (None, 8), 25: (None, 2), 26: (None, 2),
}  # fmt: skip
_INT64 = 7
_EXTERNAL = 1
# Those that every onnxruntime has.
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview.training", "ai.onnx.training", "com.microsoft",
            "com.microsoft.nchwc", "com.ms.internal.nhwc")  # fmt: skip
# Operators of these domains that read other files or run other code.
_REFUSED = ("EPContext", "PyOp", "PythonOp", "ATen", "TritonOp", "ExternalCustomOp")
_FILLING = ("ConstantOfShape", "Expand", "RandomNormal", "RandomUniform")


@dataclass
class Port:
    """An input or output of a file. shape: None for an axis of any size; None as a whole where the file has none."""

    name: str
    dtype: str | None  # None: no tensor, or of a type that arrays do not have
    shape: tuple[int | None, ...] | None


@dataclass
class OnnxFile:
    """What a checked file holds. `parameters`: numbers in its weights; `bytes`: of all of its files."""

    inputs: list[Port] = field(default_factory=list)
    outputs: list[Port] = field(default_factory=list)
    parameters: int = 0
    bytes: int = 0
    files: set[str] = field(default_factory=set)  # where the data of tensors lie, in the model's folder


def read_onnx(path: Path, folder: Path) -> OnnxFile:
    """Checks a file, whose data files must lie in `folder`.

    Raises ModelNotFoundError, CorruptFileError, UnsupportedError (operators that need a library of their own).
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < 8:
                raise CorruptFileError(f"{path}: {size} bytes are no ONNX model")
            # Closed when the last view of it goes: an exception may hold some.
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise ModelNotFoundError(f"{path}: {error.strerror or error}") from None
    reader = _Reader(folder.resolve())
    try:
        reader.read(memoryview(mapped))
    except CorruptFileError as error:
        raise CorruptFileError(f"{path}: damaged, or no ONNX model: {error}") from None
    except UnsupportedError as error:
        raise UnsupportedError(f"{path}: {error}") from None
    reader.found.bytes += size
    return reader.found


class _Reader:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._functions: set[tuple[str, str]] = set()
        self.found = OnnxFile()

    def read(self, data: memoryview) -> None:
        # What cannot be ONNX is seen by its first byte: ir_version, a small number, stands first in every file.
        if data[0] != 0x08:
            raise CorruptFileError(f"it begins with {bytes(data[:4])!r}")
        version = 0
        graph: memoryview | None = None
        functions: list[memoryview] = []
        for key, value in fields(data):
            if key == 1:
                version = number(value)
            elif key == 7:
                graph = message(value)
            elif key == 25:
                functions.append(message(value))
        if not 1 <= version <= 64 or graph is None:
            raise CorruptFileError(
                f"it has the version {version} and {'a' if graph is not None else 'no'} graph"
            )
        for function in functions:
            names = {key: text(value) for key, value in fields(function) if key in (1, 10)}
            self._functions.add((names.get(10, ""), names.get(1, "")))
        for function in functions:
            self._nodes((message(value) for key, value in fields(function) if key == 7), {}, 0)
        self._graph(graph, 0)

    def _graph(self, data: memoryview, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise CorruptFileError(f"graphs lie in graphs, more than {_MAX_DEPTH} deep")
        nodes: list[memoryview] = []
        weights: set[str] = set()
        shapes: dict[str, list[int]] = {}
        inputs, outputs = [], []
        for key, value in fields(data):
            if key == 1:
                nodes.append(message(value))
            elif key == 5:
                name, small = self._tensor(message(value))
                weights.add(name)
                if small is not None:
                    shapes[name] = small
            elif key == 11:
                inputs.append(_port(message(value)))
            elif key == 12:
                outputs.append(_port(message(value)))
            elif key == 13:
                _port(message(value))
            elif key == 15:
                self._sparse(message(value))
        if depth == 0:
            self.found.inputs = [port for port in inputs if port.name not in weights]
            self.found.outputs = outputs
        self._nodes(nodes, shapes, depth)

    def _nodes(
        self, nodes: Iterator[memoryview] | list[memoryview], shapes: dict[str, list[int]], depth: int
    ) -> None:
        for node in nodes:
            kind = domain = ""
            inputs: list[str] = []
            outputs: list[str] = []
            small: list[int] | None = None
            for key, value in fields(node):
                if key == 1:
                    inputs.append(text(value))
                elif key == 2:
                    outputs.append(text(value))
                elif key == 4:
                    kind = text(value)
                elif key == 7:
                    domain = text(value)
                elif key == 5:
                    small = self._attribute(message(value), depth) or small
            if (domain, kind) not in self._functions and (domain not in _DOMAINS or kind in _REFUSED):
                raise UnsupportedError(
                    f"it has the operator {kind[:64]!r} of {domain[:64] or 'onnx'!r}, which needs a library of its "
                    "own; such libraries are never loaded"
                )
            if kind == "Constant" and outputs and small is not None:
                shapes[outputs[0]] = small
            if kind in _FILLING:
                wanted = next((shapes[name] for name in inputs if name in shapes), small)
                _check_filling(kind, wanted)

    def _attribute(self, data: memoryview, depth: int) -> list[int] | None:
        """A small tensor or list of numbers that it is."""
        small: list[int] | None = None
        listed: list[int] = []
        for key, value in fields(data):
            if key in (5, 10):
                _, small = self._tensor(message(value))
            elif key in (6, 11):
                self._graph(message(value), depth + 1)
            elif key in (22, 23):
                self._sparse(message(value))
            elif key == 8:
                listed += _numbers(value)
        return small if small is not None else listed or None

    def _sparse(self, data: memoryview) -> None:
        for key, value in fields(data):
            if key in (1, 2):
                self._tensor(message(value))

    def _tensor(self, data: memoryview) -> tuple[str, list[int] | None]:
        """Its name, and its numbers where it may be a shape."""
        name, kind, location = "", 0, 0
        dims: list[int] = []
        outside: dict[str, str] = {}
        raw: memoryview | None = None
        typed = 0  # elements that stand one by one, at most
        shape: list[int] = []
        for key, value in fields(data):
            if key == 1:
                dims += _numbers(value)
            elif key == 2:
                kind = number(value)
            elif key == 8:
                name = text(value)
            elif key == 9:
                raw = message(value)
            elif key == 13:
                entry = {each: text(part) for each, part in fields(message(value))}
                outside[entry.get(1, "")] = entry.get(2, "")
            elif key == 14:
                location = number(value)
            elif key in (4, 5, 6, 7, 10, 11):
                typed += 1 if isinstance(value, int) or key == 6 else len(value)
                if key == 7 and (isinstance(value, int) or len(value) <= _MAX_SHAPE_BYTES):
                    shape += _numbers(value)
        count = 1
        for size in dims:
            if not 0 <= size <= _MAX_SIZE:
                raise CorruptFileError(f"the tensor {name[:64]!r} has an axis of {size}")
            count *= size
        if kind not in _TYPES:
            raise CorruptFileError(f"the tensor {name[:64]!r} has the type {kind}")
        size = -(-count * _TYPES[kind][1] // 8)
        if location == _EXTERNAL or outside:
            self._check_outside(name, outside, size)
        elif raw is not None:
            if len(raw) != size or kind == 8:
                raise CorruptFileError(
                    f"the tensor {name[:64]!r} has {len(raw)} bytes; its sizes {dims[:8]} take {size}"
                )
        elif typed < count and kind not in (14, 15, 21, 22, 23, 25, 26):
            raise CorruptFileError(
                f"the tensor {name[:64]!r} has fewer numbers than its sizes {dims[:8]} say: {count}"
            )
        self.found.parameters += count
        if kind != _INT64 or count > _MAX_SHAPE_BYTES // 8:
            return name, None
        if raw is not None:
            shape = list(raw.cast("q")) if len(raw) % 8 == 0 and raw.contiguous else []
        return name, shape

    def _check_outside(self, name: str, entry: dict[str, str], size: int) -> None:
        """A tensor's data in a file beside the model's."""
        where = entry.get("location", "")
        path = (self._folder / where).resolve()
        if not where or os.path.isabs(where) or ".." in Path(where).parts or self._folder not in path.parents:
            raise CorruptFileError(
                f"the data of {name[:64]!r} are to lie in {where[:128]!r}: must be a file of the model's own folder"
            )
        if not path.is_file():
            raise CorruptFileError(f"the data of {name[:64]!r} lie in {where[:128]!r}, which is missing")
        numbers = {}
        for key in ("offset", "length"):
            given = entry.get(key, "0" if key == "offset" else str(size))
            if not (given.isascii() and given.isdigit() and len(given) < 19):
                raise CorruptFileError(f"the data of {name[:64]!r} have the {key} {given[:32]!r}")
            numbers[key] = int(given)
        there = path.stat().st_size
        if numbers["length"] != size or numbers["offset"] + size > there:
            raise CorruptFileError(
                f"the data of {name[:64]!r} are {numbers['length']} bytes from {numbers['offset']} on: its sizes take "
                f"{size}, and the file has {there}"
            )
        self.found.bytes += size
        self.found.files.add(where)


def _numbers(value: int | memoryview) -> list[int]:
    """Of a repeated int64 field, packed or not."""
    return [signed(value)] if isinstance(value, int) else [signed(each) for each in varints(value)]


def _check_filling(kind: str, shape: list[int] | None) -> None:
    count = 1
    for size in shape or ():
        count *= max(1, size)
    if count > _MAX_ELEMENTS:
        raise CorruptFileError(f"{kind} would make {count} numbers; the limit is {_MAX_ELEMENTS}")


def _port(data: memoryview) -> Port:
    name, dtype = "", None
    shape: tuple[int | None, ...] | None = None
    for key, value in fields(data):
        if key == 1:
            name = text(value)
        elif key == 2:
            for kind, tensor in fields(message(value)):
                if kind != 1:
                    continue
                for each, part in fields(message(tensor)):
                    if each == 1:
                        dtype = _TYPES.get(number(part), (None, 0))[0]
                    elif each == 2:
                        shape = tuple(
                            _axis(message(axis)) for kind, axis in fields(message(part)) if kind == 1
                        )
    return Port(name, dtype, shape)


def _axis(data: memoryview) -> int | None:
    size = next((signed(number(value)) for key, value in fields(data) if key == 1), None)
    if size is not None and size > _MAX_SIZE:
        raise CorruptFileError(f"an input or output has an axis of {size}")
    return None if size is None or size <= 0 else size
