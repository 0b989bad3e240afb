"""Model files that would do harm: make a canary file if any of them ran, fill the memory, or read elsewhere."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import pickletools
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx_models import linear, port, save

Write = Callable[[Path], None]


class Payload:
    """What pickle makes of it runs a command."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {self.canary}",)


def opcodes(canary: Path) -> dict[str, bytes]:
    """Pickles that run something, by how they do it."""
    command = f"touch {canary}"
    code = f"open({str(canary)!r},'w').close()"
    return {
        "reduce": pickle.dumps(Payload(canary)),
        "protocol 0": pickle.dumps(Payload(canary), protocol=0),
        "global": b"cos\nsystem\n(S'" + command.encode() + b"'\ntR.",
        "eval": b"cbuiltins\neval\n(V" + f'__import__("os").system("{command}")'.encode() + b"\ntR.",
        "exec": b"cbuiltins\nexec\n(V" + code.encode() + b"\ntR.",
        "inst": b"(S'" + command.encode() + b"'\nios\nsystem\n.",
        "obj": b"(cos\nsystem\nS'" + command.encode() + b"'\no.",
        "stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c" + struct.pack("B", len(command))
        + command.encode() + b"\x85R.",
        "build": b"cos\nsystem\n(S'" + command.encode() + b"'\ntR}b.",
        "first of two": pickletools.optimize(pickle.dumps(Payload(canary))) + pickle.dumps([1]),
    }  # fmt: skip


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return found.getvalue()


def torch_zip(pickled: bytes) -> bytes:
    return zipped({"archive/data.pkl": pickled, "archive/version": b"3\n", "archive/data/0": b"\0" * 16})


def npy(pickled: bytes) -> bytes:
    head = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    head += b" " * (63 - (10 + len(head)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + pickled


def keras_lambda(canary: Path) -> bytes:
    import marshal

    code = compile(f"open({str(canary)!r}, 'w')", "layer", "eval")
    layer = {
        "class_name": "Lambda",
        "config": {"function": {"class_name": "__lambda__", "config": {"code": marshal.dumps(code).hex()}}},
    }
    return json.dumps({"class_name": "Sequential", "config": {"layers": [layer]}}).encode()


def keras_custom(canary: Path) -> bytes:
    layer = {
        "module": "os",
        "class_name": "system",
        "config": {"command": f"touch {canary}"},
        "registered_name": "x",
    }
    return json.dumps({"module": "keras", "class_name": "Sequential", "config": {"layers": [layer]}}).encode()


def keras_file(config: bytes, weights: bytes = b"") -> bytes:
    return zipped({"config.json": config, "metadata.json": b"{}", "model.weights.h5": weights})


def h5_file(config: bytes) -> bytes:
    found = io.BytesIO()
    with h5py.File(found, "w") as file:
        file.attrs["model_config"] = config
        file.attrs["keras_version"] = "2.4.0"
    return found.getvalue()


def tar(pickled: bytes, name: str = "../model.pkl") -> bytes:
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(pickled)
        archive.addfile(info, io.BytesIO(pickled))
    return found.getvalue()


def _bytes(data: bytes) -> Write:
    return lambda path: (path.write_bytes(data), None)[1]


def code_files(canary: Path) -> Iterator[tuple[str, Write]]:
    """(file name, what writes it) of kinds that may hold code, and of such under other names."""
    found = opcodes(canary)
    plain = found["reduce"]
    for kind, data in found.items():
        yield f"{kind.replace(' ', '_')}.pkl", _bytes(data)
        yield f"{kind.replace(' ', '_')}.pt", _bytes(torch_zip(data))
    for name in ("model.joblib", "pytorch_model.bin", "model.pth", "model.ckpt", "model.pickle"):
        yield name, _bytes(plain)
    yield "array.npy", _bytes(npy(plain))
    yield "arrays.npz", _bytes(zipped({"x.npy": npy(plain)}))
    yield (
        "nested.pt",
        _bytes(zipped({"archive/data.pkl": torch_zip(plain), "archive/inner.zip": torch_zip(plain)})),
    )
    yield "deep.zip", _bytes(zipped({"a.zip": zipped({"b.zip": zipped({"c.pkl": plain})})}))
    yield (
        "packed.pt2",
        _bytes(zipped({"archive/serialized_exported_program.json": b"{}", "archive/data.pkl": plain})),
    )
    yield "compressed.joblib", _bytes(gzip.compress(plain))
    yield "archive.tar", _bytes(tar(plain))
    yield (
        "archive.mar",
        _bytes(zipped({"MAR-INF/MANIFEST.json": b"{}", "handler.py": b"1/0", "model.pt": plain})),
    )
    yield "lambda.keras", _bytes(keras_file(keras_lambda(canary)))
    yield "custom.keras", _bytes(keras_file(keras_custom(canary)))
    yield "weights.keras", _bytes(keras_file(b"{}", plain))
    yield "lambda.h5", _bytes(h5_file(keras_lambda(canary)))
    yield "custom.h5", _bytes(h5_file(keras_custom(canary)))
    yield "saved_model.pb", _bytes(b"\x08\x01" + plain)
    yield "estimator.skops", _bytes(zipped({"schema.json": b'{"__class__": "system", "__module__": "os"}'}))


def renamed_files(canary: Path) -> Iterator[tuple[str, Write]]:
    """Code under a name that stands for data."""
    plain = opcodes(canary)["reduce"]
    for name in ("renamed.onnx", "renamed.gguf"):
        yield name, _bytes(plain)
        yield f"zip_{name}", _bytes(torch_zip(plain))
    yield "keras.onnx", _bytes(keras_file(keras_lambda(canary)))
    yield "global.onnx", _bytes(opcodes(canary)["global"])


def _external(location: str, **entries: str) -> Write:
    def write(path: Path) -> None:
        linear(path)
        model = onnx.load(path)
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **entries}.items():
            tensor.external_data.add(key=key, value=value)
        path.write_bytes(model.SerializeToString())

    return write


def _changed(change: Callable[[Any], None]) -> Write:
    def write(path: Path) -> None:
        linear(path)
        model = onnx.load(path)
        change(model)
        path.write_bytes(model.SerializeToString())

    return write


def _huge_weight(model: Any) -> None:
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([1 << 40, 1 << 20])


def _huge_input(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1 << 50


def _negative_weight(model: Any) -> None:
    model.graph.initializer[0].dims[0] = -3


def _filling(path: Path) -> None:
    sizes = numpy_helper.from_array(np.array([1 << 20, 1 << 20], dtype=np.int64), "sizes")
    nodes = [
        helper.make_node("ConstantOfShape", ["sizes"], ["zeros"]),
        helper.make_node("Add", ["x", "zeros"], ["y"]),
    ]
    ports = [port("x", TensorProto.FLOAT, ["n", 1])], [port("y", TensorProto.FLOAT, ["n", 1])]
    save(path, nodes, *ports, {"sizes": numpy_helper.to_array(sizes)})


def _custom_operator(path: Path) -> None:
    node = helper.make_node("System", ["x"], ["y"], domain="evil", command="id")
    ports = [port("x", TensorProto.FLOAT, ["n", 1])], [port("y", TensorProto.FLOAT, ["n", 1])]
    save(path, [node], *ports, domains=(("", 17), ("evil", 1)))


def _context(path: Path) -> None:
    node = helper.make_node(
        "EPContext", ["x"], ["y"], domain="com.microsoft", ep_cache_context="/etc/passwd", embed_mode=0
    )
    ports = [port("x", TensorProto.FLOAT, ["n", 1])], [port("y", TensorProto.FLOAT, ["n", 1])]
    save(path, [node], *ports, domains=(("", 17), ("com.microsoft", 1)))


def _deep(path: Path) -> None:
    """Graphs in graphs in graphs."""
    data = b""
    for _ in range(2000):
        attribute = b"\x32" + _varint(len(data)) + data  # AttributeProto.g
        node = b"\x2a" + _varint(len(attribute)) + attribute  # NodeProto.attribute
        data = b"\x0a" + _varint(len(node)) + node  # GraphProto.node
    path.write_bytes(b"\x08\x08" + b"\x3a" + _varint(len(data)) + data)


def _varint(value: int) -> bytes:
    found = b""
    while value >= 0x80:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])


def _cut(share: float) -> Write:
    def write(path: Path) -> None:
        linear(path)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])

    return write


def onnx_files() -> Iterator[tuple[str, Write]]:
    """ONNX files that read elsewhere, fill the memory, need a library, or are damaged."""
    yield "passwd.onnx", _external("../../../../../../etc/passwd")
    yield "absolute.onnx", _external("/etc/passwd")
    yield "dots.onnx", _external("a/../../b")
    yield "nowhere.onnx", _external("missing.data")
    yield "empty.onnx", _external("")
    yield "itself.onnx", _external("itself.onnx", offset="0", length=str(1 << 60))
    yield "minus.onnx", _external("minus.onnx", offset="-8")
    yield "huge_weight.onnx", _changed(_huge_weight)
    yield "huge_input.onnx", _changed(_huge_input)
    yield "negative.onnx", _changed(_negative_weight)
    yield "filling.onnx", _filling
    yield "operator.onnx", _custom_operator
    yield "context.onnx", _context
    yield "deep.onnx", _deep
    yield "cut_0.onnx", _cut(0.0)
    yield "cut_1.onnx", _cut(0.1)
    yield "cut_5.onnx", _cut(0.5)
    yield "cut_9.onnx", _cut(0.95)
    yield "length.onnx", _bytes(b"\x08\x08\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f" + b"\0" * 64)
    yield "ortm.onnx", _bytes(b"\x10\x00\x00\x00ORTM" + b"\0" * 64)


def hostile_files(canary: Path) -> list[tuple[str, Write]]:
    """All of them."""
    return [*code_files(canary), *renamed_files(canary), *onnx_files()]
