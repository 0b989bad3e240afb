"""BentoML with its adaptive batching."""

from __future__ import annotations

import bentoml
import numpy as np
import torch

from rivals.dense import describe, network, workers


@bentoml.service(
    workers=workers(), traffic={"timeout": 30, "max_concurrency": 1024}, metrics={"enabled": False}
)
class Dense:
    def __init__(self) -> None:
        self.net = network()

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=1000)
    def predict(self, x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return self.net(torch.from_numpy(np.asarray(x, dtype=np.float32))).numpy()

    @bentoml.api
    def describe(self, text: str) -> dict[str, int]:
        return describe(text)
