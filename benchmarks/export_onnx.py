"""all-MiniLM-L6-v2 as an ONNX file, exported from the same weights, for the rival ONNX Runtime."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path


def quantized(path: Path) -> Path:
    """The model at `path` with its matrices in int8, a scale for each channel, activations quantised as they come."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    target = path.with_name(path.stem + "_int8.onnx")
    if not target.exists():
        quantize_dynamic(
            str(path),
            str(target),
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    return target


def export(model_path: Path, folder: Path) -> Path:
    """The exported model in `folder`, made if it is not there; fused by onnxruntime's optimizer if it can."""
    plain, fused = folder / "model.onnx", folder / "model_fused.onnx"
    if fused.exists():
        return fused
    if plain.exists():
        return plain
    folder.mkdir(parents=True, exist_ok=True)
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(str(model_path), attn_implementation="eager").eval()

    class Hidden(torch.nn.Module):
        """Positional inputs, one output: what an exporter can trace."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask, token_type_ids):
            return self.model(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
            ).last_hidden_state

    names = ["input_ids", "attention_mask", "token_type_ids"]
    ids = torch.randint(1000, 2000, (2, 7))
    inputs = (ids, torch.ones_like(ids), torch.zeros_like(ids))
    inputs[1][1, 5:] = 0
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Hidden(),
            inputs,
            str(plain),
            input_names=names,
            output_names=["hidden"],
            dynamic_axes={name: {0: "batch", 1: "length"} for name in [*names, "hidden"]},
            opset_version=17,
            dynamo=False,
        )
    return _fuse(model_path, plain, fused)


def _fuse(model_path: Path, plain: Path, fused: Path) -> Path:
    try:
        from onnxruntime.transformers import optimizer

        config = json.loads((model_path / "config.json").read_text())
        optimized = optimizer.optimize_model(
            str(plain),
            model_type="bert",
            num_heads=config["num_attention_heads"],
            hidden_size=config["hidden_size"],
        )
        print(f"fused operators: {optimized.get_fused_operator_statistics()}", file=sys.stderr)
        optimized.save_model_to_file(str(fused))
    except Exception as error:
        # The rival then runs with the graph optimizations of its own session only; the result line says so.
        print(f"onnxruntime.transformers.optimizer did not work: {error!r}", file=sys.stderr)
        return plain
    return fused
