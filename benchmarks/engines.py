"""The engines that bench_embed.py compares. Each has encode(texts) -> float32 [n, dimensions], normalised.

All use the same weights in f32. None may cache answers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import harness


class HeadraceEngine:
    """headrace, all texts in one call, in arrival order."""

    def __init__(self, model: Path, threads: int) -> None:
        import headrace

        self.model = headrace.load(model, threads=threads)
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


class OnnxRuntimeEngine:
    """ONNX Runtime: batches of 32 in arrival order, padded to the longest; tokenizers; numpy for the rest."""

    BATCH = 32

    def __init__(self, model: Path, threads: int) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        import export_onnx

        path = export_onnx.export(model, harness.CACHE / "onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        self.tokenizer.enable_truncation(256)
        self.tokenizer.enable_padding()
        self.about = {
            "isa": "MLAS",
            "fused": path.name == "model_fused.onnx",
            "versions": harness.versions("onnxruntime", "tokenizers", "numpy"),
        }

    def encode(self, texts: list[str]) -> Any:
        import numpy as np

        parts = []
        for start in range(0, len(texts), self.BATCH):
            encoded = self.tokenizer.encode_batch(texts[start : start + self.BATCH])
            ids = np.array([one.ids for one in encoded], dtype=np.int64)
            mask = np.array([one.attention_mask for one in encoded], dtype=np.int64)
            inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            hidden = self.session.run(None, inputs)[0]
            weights = mask[:, :, None].astype(np.float32)
            pooled = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
            parts.append(pooled / np.linalg.norm(pooled, axis=1, keepdims=True))
        return np.concatenate(parts)


ENGINES = {
    "headrace": HeadraceEngine,
    "sentence-transformers": SentenceTransformersEngine,
    "onnxruntime": OnnxRuntimeEngine,
}
