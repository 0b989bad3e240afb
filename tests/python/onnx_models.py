"""Small ONNX models, made node by node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Sizes = Sequence[int | str | None]


def port(name: str, kind: int, shape: Sizes | None) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def save(
    path: Path,
    nodes: list[Any],
    inputs: list[Any],
    outputs: list[Any],
    weights: dict[str, np.ndarray[Any, Any]] | None = None,
    *,
    domains: Sequence[tuple[str, int]] = (("", 17),),
) -> Path:
    tensors = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(nodes, "test", inputs, outputs, tensors)
    opsets = [helper.make_opsetid(name, version) for name, version in domains]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def linear(path: Path, *, batch: int | str | None = "n", seed: int = 0) -> tuple[Path, Any, Any]:
    """y = x w + b with x [n, 3] and y [n, 2]; also w and b."""
    rng = np.random.default_rng(seed)
    w, b = rng.normal(size=(3, 2)).astype(np.float32), rng.normal(size=2).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["xw"]), helper.make_node("Add", ["xw", "b"], ["y"])]
    save(
        path,
        nodes,
        [port("x", TensorProto.FLOAT, [batch, 3])],
        [port("y", TensorProto.FLOAT, [batch, 2])],
        {"w": w, "b": b},
    )
    return path, w, b


def masked_mean(path: Path) -> Path:
    """mean [n]: of those ids [n, t] whose mask [n, t] is 1; and doubled [n, t], each id twice."""
    nodes = [
        helper.make_node("Cast", ["ids"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["mask"], ["weights"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["numbers", "weights"], ["own"]),
        helper.make_node("ReduceSum", ["own", "axis"], ["total"], keepdims=0),
        helper.make_node("ReduceSum", ["weights", "axis"], ["count"], keepdims=0),
        helper.make_node("Div", ["total", "count"], ["mean"]),
        helper.make_node("Add", ["ids", "ids"], ["doubled"]),
    ]
    sizes: Sizes = ["n", "t"]
    return save(
        path,
        nodes,
        [port("ids", TensorProto.INT64, sizes), port("mask", TensorProto.INT64, sizes)],
        [port("mean", TensorProto.FLOAT, ["n"]), port("doubled", TensorProto.INT64, sizes)],
        {"axis": np.array([1], dtype=np.int64)},
    )
