"""PyTriton with Triton's dynamic batching: python rivals/dense_pytriton.py HTTP_PORT GRPC_PORT METRICS_PORT.

The dense model alone: its tensors of bytes want numpy 1 (PyTriton 0.7.0).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from rivals.dense import INPUTS, network

net = network()


@batch
def dense(x: np.ndarray) -> dict[str, np.ndarray]:
    with torch.inference_mode():
        return {"score": net(torch.from_numpy(x)).numpy()}


if __name__ == "__main__":
    http, grpc, metrics = map(int, sys.argv[1:])
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=http,
        grpc_address="127.0.0.1",
        grpc_port=grpc,
        metrics_port=metrics,
    )
    batching = ModelConfig(max_batch_size=32, batcher=DynamicBatcher(max_queue_delay_microseconds=1000))
    with Triton(config=config) as triton:
        triton.bind(
            "dense", dense, [Tensor(name="x", dtype=np.float32, shape=(INPUTS,))],
            [Tensor(name="score", dtype=np.float32, shape=(1,))], config=batching,
        )  # fmt: skip
        triton.serve()
