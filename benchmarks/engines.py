"""The engines that bench_embed.py compares. Each has encode(texts) -> float32 [n, dimensions], normalised.

All use the same weights, in the precision of their name: NAME is f32, NAME-bf16 and NAME-int8 say so. NAME+sorted is
given the texts by length, for engines that pad a batch to its longest. None may cache answers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import harness


class HeadraceEngine:
    """headrace, all texts in one call, in arrival order."""

    def __init__(self, model: Path, threads: int, precision: str = "f32") -> None:
        import headrace

        self.model = headrace.load(model, threads=threads, precision=precision)
        self.about = {"isa": headrace.isa(), "versions": {"headrace": headrace.__version__}}

    def encode(self, texts: list[str]) -> Any:
        return self.model.embed(texts, truncate=True, show_progress=False)


class SentenceTransformersEngine:
    """sentence-transformers' own encode: it sorts the texts by length itself, then batches of 32."""

    def __init__(self, model: Path, threads: int) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(threads)
        self.model = SentenceTransformer(str(model), device="cpu")
        self.about = {
            "isa": torch.backends.cpu.get_cpu_capability(),
            "versions": harness.versions("sentence-transformers", "transformers", "torch", "tokenizers"),
        }

    def encode(self, texts: list[str]) -> Any:
        return self.model.encode(texts, batch_size=32, show_progress_bar=False, normalize_embeddings=True)


class PaddedEngine:
    """Batches of 32 in the order given, padded to the longest; `tokenizers` before, numpy behind."""

    BATCH = 32

    def __init__(self, model: Path) -> None:
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        self.tokenizer.enable_truncation(256)
        self.tokenizer.enable_padding()

    def hidden(self, ids: Any, mask: Any) -> Any:
        """[batch, length, hidden] of [batch, length] int64 each."""
        raise NotImplementedError

    def encode(self, texts: list[str]) -> Any:
        import numpy as np

        parts = []
        for start in range(0, len(texts), self.BATCH):
            encoded = self.tokenizer.encode_batch(texts[start : start + self.BATCH])
            ids = np.array([one.ids for one in encoded], dtype=np.int64)
            mask = np.array([one.attention_mask for one in encoded], dtype=np.int64)
            hidden = self.hidden(ids, mask)
            weights = mask[:, :, None].astype(np.float32)
            pooled = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
            parts.append(pooled / np.linalg.norm(pooled, axis=1, keepdims=True))
        return np.concatenate(parts)


class OnnxRuntimeEngine(PaddedEngine):
    """ONNX Runtime; int8: its dynamic quantisation with a scale for each channel."""

    def __init__(self, model: Path, threads: int, precision: str = "f32") -> None:
        import onnxruntime

        import export_onnx

        super().__init__(model)
        path = export_onnx.export(model, harness.CACHE / model.name / "onnx")
        if precision == "int8":
            path = export_onnx.quantized(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.about = {
            "isa": "MLAS",
            "fused": "fused" in path.name,
            "versions": harness.versions("onnxruntime", "tokenizers", "numpy"),
        }

    def hidden(self, ids: Any, mask: Any) -> Any:
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0}
        return self.session.run(None, inputs)[0]


class OpenVinoEngine(PaddedEngine):
    """OpenVINO, its inference precision set; one stream."""

    def __init__(self, model: Path, threads: int, precision: str = "f32") -> None:
        import openvino

        import export_onnx

        super().__init__(model)
        path = export_onnx.export(model, harness.CACHE / model.name / "onnx").with_name("model.onnx")
        if precision == "int8":
            path = self.quantized(path)
        options = {
            "INFERENCE_PRECISION_HINT": "f32" if precision == "int8" else precision,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        self.compiled = openvino.Core().compile_model(str(path), "CPU", options)
        packages = ("openvino", "tokenizers", "numpy", *(["nncf"] if precision == "int8" else []))
        self.about = {"isa": "oneDNN", "versions": harness.versions(*packages)}

    def quantized(self, path: Path) -> Path:
        """The model in int8 as NNCF's documentation does it for transformers, calibrated on other texts.

        https://docs.openvino.ai/2025/openvino-workflow/model-optimization-guide/quantizing-models-post-training.html
        """
        import nncf
        import numpy as np
        import openvino

        import workloads

        target = path.with_name("model_nncf.xml")
        if target.exists():
            return target

        def inputs(text: str) -> list[Any]:
            ids = np.array([self.tokenizer.encode(text).ids], dtype=np.int64)
            return [ids, np.ones_like(ids), np.zeros_like(ids)]

        dataset = nncf.Dataset(workloads.from_packages("mixed")[:300], inputs)
        model = openvino.Core().read_model(str(path))
        made = nncf.quantize(model, dataset, model_type=nncf.ModelType.TRANSFORMER, subset_size=300)
        openvino.save_model(made, str(target))
        return target

    def hidden(self, ids: Any, mask: Any) -> Any:
        return self.compiled([ids, mask, ids * 0])[0]


class CTranslate2Engine(PaddedEngine):
    """CTranslate2, which takes the padding out again but for attention."""

    def __init__(self, model: Path, threads: int, precision: str = "f32") -> None:
        import ctranslate2

        super().__init__(model)
        folder = harness.CACHE / model.name / f"ctranslate2-{precision}"
        kind = {"f32": "float32", "int8": "int8"}[precision]
        if not (folder / "model.bin").exists():
            converter = ctranslate2.converters.TransformersConverter(str(model))
            converter.convert(str(folder), quantization=kind, force=True)
        self.encoder = ctranslate2.Encoder(
            str(folder), device="cpu", compute_type=kind, intra_threads=threads, inter_threads=1
        )
        self.about = {
            "isa": "CTranslate2",
            "versions": harness.versions("ctranslate2", "tokenizers", "numpy"),
        }

    def hidden(self, ids: Any, mask: Any) -> Any:
        import numpy as np

        rows = [row[: int(length)].tolist() for row, length in zip(ids, mask.sum(axis=1), strict=True)]
        return np.array(self.encoder.forward_batch(rows).last_hidden_state)


class TorchCompileEngine(PaddedEngine):
    """PyTorch's compiler over transformers' own model, its weights frozen, for any batch and length."""

    def __init__(self, model: Path, threads: int, precision: str = "f32") -> None:
        import torch
        import torch._inductor.config
        from transformers import AutoModel

        super().__init__(model)
        torch.set_num_threads(threads)
        torch._inductor.config.freezing = True
        kind = {"f32": torch.float32, "bf16": torch.bfloat16}[precision]
        loaded = AutoModel.from_pretrained(str(model), attn_implementation="sdpa", dtype=kind).eval()
        self.compiled = torch.compile(loaded, dynamic=True)
        self.about = {
            "isa": torch.backends.cpu.get_cpu_capability(),
            "versions": harness.versions("torch", "transformers", "tokenizers"),
        }

    def hidden(self, ids: Any, mask: Any) -> Any:
        import torch

        with torch.inference_mode():
            found = self.compiled(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
        return found.last_hidden_state.float().numpy()


class SortedEngine:
    """Another engine, given the texts by length: what a program can do that has all of them at once."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.about = engine.about

    def encode(self, texts: list[str]) -> Any:
        import numpy as np

        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        vectors = self.engine.encode([texts[i] for i in order])
        back = np.empty_like(vectors)
        back[order] = vectors
        return back


_KINDS = {
    "headrace": HeadraceEngine,
    "sentence-transformers": SentenceTransformersEngine,
    "onnxruntime": OnnxRuntimeEngine,
    "openvino": OpenVinoEngine,
    "ctranslate2": CTranslate2Engine,
    "torchcompile": TorchCompileEngine,
}
NAMES = [
    "headrace", "headrace-bf16", "headrace-int8", "sentence-transformers", "onnxruntime", "onnxruntime-int8",
    "openvino", "openvino-bf16", "openvino-int8", "ctranslate2", "ctranslate2-int8",
    "torchcompile", "torchcompile-bf16",
]  # fmt: skip
NAMES += [f"{name}+sorted" for name in NAMES if not name.startswith(("headrace", "sentence"))]


def precision_of(name: str) -> str:
    """The precision that an engine's name says."""
    _, _, precision = name.removesuffix("+sorted").partition("-")
    return precision if precision in ("bf16", "int8") else "f32"


def make(name: str, model: Path, threads: int) -> Any:
    """The engine of that name, on so many threads."""
    precision = precision_of(name)
    kind = name.removesuffix("+sorted")
    if precision == "f32":
        engine = _KINDS[kind](model, threads)
    else:
        engine = _KINDS[kind.removesuffix(f"-{precision}")](model, threads, precision)  # type: ignore[call-arg]
    return SortedEngine(engine) if name.endswith("+sorted") else engine
