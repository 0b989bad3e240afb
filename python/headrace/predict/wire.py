"""Values on their way between processes, through memory that both have: JSON, with arrays and bytes as they lie.

header: length of the JSON (8 bytes), mark (8 bytes)
JSON: an array or bytes is {mark: its place in the list of arrays}; the list is the second half of the document
arrays, each at a multiple of 64 bytes
"""

from __future__ import annotations

import json
import os
import struct
from typing import Any

from ..errors import InvalidArgumentError

_HEAD = struct.Struct("<Q8s")
_ALIGNMENT = 64


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def encode(value: Any, *, mark: bytes | None = None) -> list[Any]:
    """Buffers that, one after the other, hold `value`: None, numbers, str, bytes, lists, dicts with str keys, arrays.

    `mark` stands for an array; by default it is random, so that no value can look like one.

    Raises InvalidArgumentError for other things.
    """
    import numpy as np

    mark = (mark or os.urandom(4).hex().encode()).ljust(8)[:8]
    key = mark.decode()
    arrays: list[tuple[list[int], str, Any]] = []

    def replaced(found: Any) -> Any:
        if isinstance(found, (np.bool_, np.number)):
            return found.item()
        if isinstance(found, (bytes, bytearray, memoryview)):
            shape, dtype, data = [-1], "bytes", memoryview(found).cast("B")
        elif isinstance(found, np.ndarray) and found.dtype.kind in "buif":
            found = np.ascontiguousarray(found)
            shape, dtype, data = (
                list(found.shape),
                found.dtype.str,
                memoryview(found.reshape(-1).view(np.uint8)),
            )
        elif isinstance(found, np.ndarray) and found.dtype.kind in "USO":
            return {key: [list(found.shape), found.ravel().tolist()]}
        else:
            raise InvalidArgumentError(
                f"a value of type {type(found).__name__} cannot go to a worker: give None, numbers, str, bytes, lists, "
                "dicts or numpy arrays"
            )
        arrays.append((shape, dtype, data))
        return {key: len(arrays) - 1}

    # Arrays of texts hold values again, so they are replaced while the document is written.
    document = json.dumps(value, default=replaced, ensure_ascii=False, separators=(",", ":"))
    list_of_arrays = json.dumps([[shape, dtype, data.nbytes] for shape, dtype, data in arrays])
    try:
        text = f"[{document},{list_of_arrays}]".encode()
    except UnicodeEncodeError:
        raise InvalidArgumentError("a str holds a lone surrogate: it must be valid Unicode") from None
    buffers: list[Any] = [_HEAD.pack(len(text), mark), text, b"\0" * (-(_HEAD.size + len(text)) % _ALIGNMENT)]
    for _, _, data in arrays:
        buffers += [data, b"\0" * (-data.nbytes % _ALIGNMENT)]
    return buffers


def size_of(buffers: list[Any]) -> int:
    return sum(memoryview(buffer).nbytes for buffer in buffers)


def write(buffers: list[Any], memory: memoryview) -> int:
    """Puts them into `memory`, which has room; returns how many bytes they are."""
    at = 0
    for buffer in buffers:
        view = memoryview(buffer).cast("B") if memoryview(buffer).nbytes else b""
        end = at + len(view)
        memory[at:end] = view
        at = end
    return at


def decode(memory: memoryview) -> Any:
    """The value; its arrays share `memory`, so it holds as long as that is not written anew."""
    import numpy as np

    length, mark = _HEAD.unpack_from(memory)
    key = mark.decode()
    starts: list[tuple[int, list[int], str, int]] = []

    def restored(found: dict[str, Any]) -> Any:
        if len(found) != 1 or key not in found:
            return found
        place = found[key]
        return _Texts(*place) if isinstance(place, list) else _Place(place)

    value, arrays = json.loads(bytes(memory[_HEAD.size : _HEAD.size + length]), object_hook=restored)
    at = _padded(_HEAD.size + length)
    for shape, dtype, size in arrays:
        starts.append((at, shape, dtype, size))
        at += _padded(size)

    def array_at(place: int) -> Any:
        start, shape, dtype, size = starts[place]
        data = memory[start : start + size]
        if dtype == "bytes":
            return bytes(data)
        return np.frombuffer(data, dtype=np.dtype(dtype)).reshape(shape)

    return _filled(value, array_at)


class _Place:
    """Where an array belongs, until it is known where it lies."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index


class _Texts:
    """An array of str or bytes."""

    __slots__ = ("shape", "values")

    def __init__(self, shape: list[int], values: list[Any]) -> None:
        self.shape = shape
        self.values = values


def _filled(value: Any, array_at: Any) -> Any:
    import numpy as np

    if isinstance(value, _Texts):
        found = np.empty(len(value.values), dtype=object)
        found[:] = [_filled(item, array_at) for item in value.values]
        return found.reshape(value.shape)
    if isinstance(value, _Place):
        return array_at(value.index)
    if isinstance(value, list):
        return [_filled(item, array_at) for item in value]
    if isinstance(value, dict):
        return {name: _filled(item, array_at) for name, item in value.items()}
    return value
