"""Writes the key-value section of a GGUF file: all that a tokenizer needs of one."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

Value = str | bool | int | Sequence[str] | Sequence[int] | Sequence[float]


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: Value) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, bool):
        return struct.pack("<IB", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    first = value[0]
    if isinstance(first, str):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(_text(str(item)) for item in value)
    kind, code = (6, "f") if isinstance(first, float) else (5, "i")
    return struct.pack(f"<IIQ{len(value)}{code}", 9, kind, len(value), *value)


def gguf(metadata: Mapping[str, Value]) -> bytes:
    """The file; integers are written as u32, lists of them as i32, fractions as f32."""
    keys = b"".join(_text(key) + _value(value) for key, value in metadata.items())
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(metadata)) + keys
