"""Tensors of the Open Inference Protocol, as JSON and as the binary tensor extension has them.

A request's body is JSON, or JSON of the length that the header Inference-Header-Content-Length tells with raw tensors
behind it: numbers little-endian, texts (BYTES) each behind its length in four bytes. Every size is checked against what
was sent before anything is made of it.
"""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..predict.signature import numpy_dtype_of
from .errors import invalid
from .requests import NOTHING, decode_value

_MAX_TEXTS = 2048
_MAX_NUMBERS = 1 << 28
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Spec:
    """A tensor as a model's metadata shows it; -1 in a shape is any size. BYTES are texts, or any bytes."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    is_text: bool = True

    def described(self) -> dict[str, Any]:
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


class Tensor(msgspec.Struct, forbid_unknown_fields=True):
    """`data` is read once it is known what it should be."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = {}
    data: msgspec.Raw = NOTHING

    def values(self) -> Any:
        """`data` as Python has it; None where there is none."""
        return None if self.data is NOTHING else decode_value(self.data)


class ListedTensor(Tensor, kw_only=True):
    """One whose data came as a list, over gRPC."""

    listed: list[Any]

    def values(self) -> Any:
        return self.listed


class RequestedOutput(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The JSON of POST /v2/models/{name}/infer."""

    inputs: list[Tensor]
    id: str | None = None
    parameters: dict[str, Any] = {}
    outputs: list[RequestedOutput] | None = None
    model_name: str | None = None  # KServe's client repeats the name of the path


# What a request gives for one input: texts, bytes, or numbers in the shape that it says.
Input = list[str] | list[bytes] | NDArray[Any]


def read_inputs(request: InferRequest, raw: memoryview, specs: tuple[Spec, ...]) -> dict[str, Input]:
    """What a request gives for each input, by its name; HttpError 400 for anything but what `specs` say.

    Args:
        raw: what stands behind the JSON: the inputs with binary_data_size, one after the other.
    """
    wanted = {spec.name: spec for spec in specs}
    found: dict[str, Input] = {}
    for tensor in request.inputs:
        where = f"inputs[{tensor.name[:64]!r}]"
        if tensor.name not in wanted or tensor.name in found:
            names = ", ".join(wanted)
            raise invalid(f"{where}: this model has the inputs {names}, each once", param="inputs")
        datatype = wanted[tensor.name].datatype
        if tensor.datatype != datatype:
            raise invalid(
                f"{where} has the datatype {tensor.datatype[:16]}: must be {datatype}", param="inputs"
            )
        size = tensor.parameters.get("binary_data_size")
        part = None
        if size is not None:
            if (
                not isinstance(size, int)
                or isinstance(size, bool)
                or not 0 <= size <= len(raw)
                or tensor.values() is not None
            ):
                raise invalid(
                    f"{where} has a binary_data_size of {size}: {len(raw)} bytes are left, and no data may stand "
                    "beside",
                    param="inputs",
                )
            part, raw = raw[:size], raw[size:]
        if datatype != "BYTES":
            found[tensor.name] = _numbers(where, tensor, part)
            continue
        count = _count(where, tensor.shape)
        if part is None:
            texts = _json_texts(where, tensor.values(), count)
            is_text = wanted[tensor.name].is_text
            found[tensor.name] = texts if is_text else [from_base64(f"{where}.data", each) for each in texts]
        else:
            items = _binary_items(where, part, count)
            found[tensor.name] = _as_texts(where, items) if wanted[tensor.name].is_text else items
    if missing := [name for name in wanted if name not in found]:
        raise invalid(f"inputs: {missing[0]!r} is missing", param="inputs")
    if len(raw):
        raise invalid(
            f"{len(raw)} bytes behind the last tensor: give each its binary_data_size", param="inputs"
        )
    return found


def _numbers(where: str, tensor: Tensor, raw: memoryview | None) -> NDArray[Any]:
    """In the shape that is given; whether the model takes that is not looked at here."""
    dtype = numpy_dtype_of(tensor.datatype)
    count = 1
    for size in tensor.shape:
        if size < 0 or (count := count * size) > _MAX_NUMBERS:
            raise invalid(
                f"{where} has the shape {tensor.shape[:8]}: sizes are at least 0, and it must not hold more than "
                f"{_MAX_NUMBERS} numbers",
                param="inputs",
            )
    if raw is not None:
        if len(raw) != count * dtype.itemsize:
            raise invalid(
                f"{where} has {len(raw)} bytes: its shape {tensor.shape[:8]} of {tensor.datatype} takes "
                f"{count * dtype.itemsize}",
                param="inputs",
            )
        return (
            np.frombuffer(raw, dtype=dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(tensor.shape)
        )
    array = None if tensor.data is NOTHING else _core.json_numbers(bytes(tensor.data))
    if array is None:
        try:
            array = np.asarray(tensor.values())
        except ValueError:
            array = np.empty(0, dtype=object)
    if array.size != count or (count and array.dtype.kind not in "buif"):
        raise invalid(
            f"{where}.data must be a list of as many numbers as its shape {tensor.shape[:8]} says: {count}",
            param="inputs",
        )
    return array.reshape(tensor.shape)


def _count(where: str, shape: list[int]) -> int:
    count = 1
    for size in shape:
        if size < 0 or (count := count * size) > _MAX_TEXTS:
            raise invalid(
                f"{where} has the shape {shape[:8]}: must hold 1 to {_MAX_TEXTS} texts", param="inputs"
            )
    if not shape or len(shape) > 2 or count == 0:
        raise invalid(f"{where} has the shape {shape[:8]}: must be [n] or [n, 1]", param="inputs")
    return count


def _json_texts(where: str, data: Any, count: int) -> list[str]:
    rows = data if isinstance(data, list) else None
    if rows is not None and rows and isinstance(rows[0], list):
        rows = [item for row in rows for item in (row if isinstance(row, list) else [row])]
    if rows is None or len(rows) != count or not all(isinstance(item, str) for item in rows):
        raise invalid(
            f"{where}.data must be a list of as many texts as its shape says: {count}", param="inputs"
        )
    return rows


def from_base64(where: str, text: Any, param: str = "inputs") -> bytes:
    """The bytes that a text of JSON, which has none, stands for. HttpError 400 for anything else."""
    try:
        if isinstance(text, str):
            return base64.b64decode(text, validate=True)
    except ValueError:
        pass
    raise invalid(f"{where} must be base64: this input is bytes, which JSON does not have", param=param)


def _binary_items(where: str, raw: memoryview, count: int) -> list[bytes]:
    items: list[bytes] = []
    at = 0
    while at < len(raw) and len(items) < count:
        if at + 4 > len(raw) or (end := at + 4 + struct.unpack_from("<I", raw, at)[0]) > len(raw):
            raise invalid(
                f"{where}: a text's length goes beyond its tensor's {len(raw)} bytes", param="inputs"
            )
        items.append(bytes(raw[at + 4 : end]))
        at = end
    if len(items) != count or at != len(raw):
        raise invalid(
            f"{where} holds {len(raw)} bytes, which are not its shape's {count} texts", param="inputs"
        )
    return items


def _as_texts(where: str, items: list[bytes]) -> list[str]:
    texts: list[str] = []
    try:
        for item in items:
            texts.append(item.decode())
    except UnicodeDecodeError:
        raise invalid(f"{where}: text {len(texts)} is not UTF-8", param="inputs") from None
    return texts


Output = NDArray[Any] | list[str]


def write_outputs(
    head: dict[str, Any], request: InferRequest, outputs: dict[str, tuple[Spec, Output]]
) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON where tensors stand behind it.

    Args:
        head: what stands before the outputs: the model, its version, the request's id.
        outputs: every tensor that the model gives; those that were asked for are written.
    """
    asked = request.outputs or [RequestedOutput(name) for name in outputs]
    as_binary = request.parameters.get("binary_data_output", False) is True
    described, raw = [], []
    for output in asked:
        if output.name not in outputs:
            raise invalid(
                f"outputs[{output.name[:64]!r}]: this model has the outputs {', '.join(outputs)}",
                param="outputs",
            )
        if unknown := set(output.parameters) - {"binary_data"}:
            raise invalid(
                f"outputs[{output.name[:64]!r}] has a parameter {min(unknown)[:64]!r}: known is binary_data"
            )
        spec, values = outputs[output.name]
        shape = [len(values)] if isinstance(values, list) else list(values.shape)
        tensor: dict[str, Any] = {"name": spec.name, "datatype": spec.datatype, "shape": shape}
        if output.parameters.get("binary_data", as_binary):
            raw.append(to_bytes(spec, values))
            tensor["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            tensor["data"] = _json_data(values)
        described.append(tensor)
    body = _encode({**head, "outputs": described})
    return b"".join([body, *raw]), len(body) if raw else None


def to_bytes(spec: Spec, values: Output) -> bytes:
    """Little-endian numbers, or texts each behind its length in four bytes."""
    if isinstance(values, list) or values.dtype == object:
        texts = values if isinstance(values, list) else values.ravel().tolist()
        encoded = [text if isinstance(text, bytes) else text.encode() for text in texts]
        return b"".join(part for text in encoded for part in (struct.pack("<I", len(text)), text))
    return np.ascontiguousarray(values, dtype=numpy_dtype_of(spec.datatype).newbyteorder("<")).tobytes()


def _json_data(values: Output) -> Any:
    """Flat, as the protocol has it."""
    if isinstance(values, list):
        return values
    if values.dtype == np.float32:
        return msgspec.Raw(_core.tensor_json(np.ascontiguousarray(values).ravel()))
    # JSON has no bytes: what is no UTF-8 has to be asked for as binary data.
    return [
        item.decode(errors="replace") if isinstance(item, bytes) else item for item in values.ravel().tolist()
    ]
