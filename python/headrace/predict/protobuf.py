"""The wire format of protocol buffers, as far as one has to read it to know what a file holds before anyone uses it.

protobuf.dev/programming-guides/encoding. Nothing is copied: parts of a message are views of the file.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import CorruptFileError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of each field of a message: an int of a varint, else its bytes. CorruptFileError for others."""
    at, end = 0, len(data)
    while at < end:
        key = data[at]
        at += 1
        if key >= 0x80:
            key, at = _varint(data, at - 1)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise CorruptFileError("a field has the number 0")
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise CorruptFileError(f"a field has the wire type {kind}")
        if size > end - at:
            raise CorruptFileError(f"a field says {size} bytes where {end - at} are left")
        yield number, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    found = shift = 0
    for byte in data[at : at + 10]:
        at += 1
        found |= (byte & 0x7F) << shift
        if byte < 0x80:
            return found & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise CorruptFileError("a number is cut off or longer than 64 bits")


def varints(data: memoryview) -> Iterator[int]:
    """Those of a packed field."""
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def signed(value: int) -> int:
    """A varint as int64 has it."""
    return value - (1 << 64) if value >> 63 else value


def text(value: int | memoryview) -> str:
    """A string field. CorruptFileError for what is none, or not UTF-8."""
    if isinstance(value, int):
        raise CorruptFileError("a number stands where a text must")
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError:
        raise CorruptFileError("a text is not UTF-8") from None


def message(value: int | memoryview) -> memoryview:
    """A field that is a message or bytes. CorruptFileError for a number."""
    if isinstance(value, int):
        raise CorruptFileError("a number stands where a message must")
    return value


def number(value: int | memoryview) -> int:
    """A varint field. CorruptFileError for other kinds."""
    if not isinstance(value, int):
        raise CorruptFileError("a message stands where a number must")
    return value
