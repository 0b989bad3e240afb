"""PyTriton with its dynamic batching: python rivals/dense_pytriton.py PORT GRPC_PORT METRICS_PORT."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from rivals.dense import inputs, network, workers

net = network()


@batch
def predict(x: np.ndarray) -> list[np.ndarray]:
    with torch.inference_mode():
        return [net(torch.from_numpy(x)).numpy()]


if __name__ == "__main__":
    http, grpc, metrics = map(int, sys.argv[1:])
    with torch.inference_mode():
        width = net(torch.zeros(1, inputs())).shape[1]
    config = TritonConfig(
        http_address="127.0.0.1", http_port=http, grpc_port=grpc, metrics_port=metrics, log_verbose=0
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="dense",
            infer_func=[predict] * workers(),
            inputs=[Tensor(name="x", dtype=np.float32, shape=(inputs(),))],
            outputs=[Tensor(name="score", dtype=np.float32, shape=(width,))],
            config=ModelConfig(max_batch_size=32, batcher=DynamicBatcher(max_queue_delay_microseconds=1000)),
        )
        triton.serve()
