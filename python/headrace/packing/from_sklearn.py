"""Estimators and pipelines of scikit-learn: as ONNX by skl2onnx, or in a file of skops."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UnsupportedError
from ..predict.sklearn import METHODS, call, frame

if TYPE_CHECKING:
    from ..predict.signature import TensorSpec
    from .examples import Arrays


def expected(estimator: Any, arrays: Arrays) -> Arrays:
    """What the estimator gives: label and probabilities of a classifier, label of a clustering, value of a regression,
    vector of what only transforms."""
    from sklearn.base import is_classifier, is_regressor

    if is_classifier(estimator):
        wanted = ["label", "probabilities"] if hasattr(estimator, "predict_proba") else ["label"]
    elif is_regressor(estimator):
        wanted = ["value"]
    elif hasattr(estimator, "predict"):
        wanted = ["label"]
    elif hasattr(estimator, "transform"):
        wanted = ["vector"]
    else:
        raise UnsupportedError(f"{type(estimator).__name__} has none of {', '.join(set(METHODS.values()))}")
    return {name: call(estimator, name, frame(arrays)) for name in wanted}


def labels_of(estimator: Any) -> list[str]:
    """The classes, in the order of the probabilities."""
    return [str(label) for label in getattr(estimator, "classes_", ())]


def to_onnx(estimator: Any, specs: Mapping[str, TensorSpec], outputs: Arrays, path: Path) -> None:
    """Writes an .onnx file whose outputs have our names. UnsupportedError where skl2onnx knows no way."""
    try:
        import onnx
        import skl2onnx
    except ImportError:
        raise UnsupportedError("skl2onnx is not installed: pip install 'headrace[package]'") from None
    columns = not (len(specs) == 1 and len(next(iter(specs.values())).shape) == 1)
    try:
        types = [
            (name, _type(spec)([None, 1] if columns else [None, spec.shape[0]]))
            for name, spec in specs.items()
        ]
        options = {id(estimator): {"zipmap": False}} if "probabilities" in outputs else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = skl2onnx.to_onnx(estimator, initial_types=types, options=options)
    except Exception as error:
        text = str(error).strip().splitlines()
        raise UnsupportedError(
            f"skl2onnx: {type(error).__name__}: {text[0][:300] if text else ''}"
        ) from error
    graph = model.graph
    if len(graph.output) < len(outputs):
        raise UnsupportedError(f"skl2onnx gives {len(graph.output)} outputs, and {len(outputs)} are wanted")
    del graph.output[len(outputs) :]
    if columns:
        _take_columns(graph, onnx)
    for port, (name, array) in zip(graph.output, outputs.items(), strict=True):
        _name_output(graph, port, name, array.ndim, onnx)
    onnx.save(model, path)


def _type(spec: TensorSpec) -> Any:
    from skl2onnx.common import data_types

    kinds = {
        "float32": data_types.FloatTensorType,
        "int64": data_types.Int64TensorType,
        "str": data_types.StringTensorType,
        "bool": data_types.BooleanTensorType,
        "int32": data_types.Int32TensorType,
    }
    if spec.dtype not in kinds:
        raise UnsupportedError(f"{spec.name}: {spec.dtype} has no type in skl2onnx")
    return kinds[spec.dtype]


def _reshape(graph: Any, source: str, target: str, shape: list[int], onnx: Any) -> Any:
    name = f"{target}_sizes"
    graph.initializer.append(onnx.helper.make_tensor(name, onnx.TensorProto.INT64, [len(shape)], shape))
    return onnx.helper.make_node("Reshape", [source, name], [target])


def _take_columns(graph: Any, onnx: Any) -> None:
    """skl2onnx has columns as [n, 1]; an item of ours has one value of each."""
    nodes = []
    for port in graph.input:
        inner = f"{port.name}__column"
        for node in graph.node:
            for i, name in enumerate(node.input):
                if name == port.name:
                    node.input[i] = inner
        nodes.append(_reshape(graph, port.name, inner, [-1, 1], onnx))
        del port.type.tensor_type.shape.dim[1:]
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])


def _name_output(graph: Any, port: Any, name: str, axes: int, onnx: Any) -> None:
    inner = f"{port.name}__inner"
    for node in graph.node:
        for i, output in enumerate(node.output):
            if output == port.name:
                node.output[i] = inner
        for i, source in enumerate(node.input):
            if source == port.name:
                node.input[i] = inner
    port.name = name
    shape = port.type.tensor_type.shape
    if axes == 1 and len(shape.dim) == 2:
        del shape.dim[1:]
        graph.node.append(_reshape(graph, inner, name, [-1], onnx))
    else:
        graph.node.append(onnx.helper.make_node("Identity", [inner], [name]))


def to_skops(estimator: Any, path: Path) -> None:
    """Writes a .skops file. UnsupportedError where skops is not installed or cannot hold it."""
    try:
        import skops.io
    except ImportError:
        raise UnsupportedError("skops is not installed: pip install 'headrace[sklearn]'") from None
    try:
        skops.io.dump(estimator, path)
    except Exception as error:
        raise UnsupportedError(f"skops: {type(error).__name__}: {str(error)[:300]}") from error
