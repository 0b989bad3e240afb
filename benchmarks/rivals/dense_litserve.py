"""LitServe with its own batching: python rivals/dense_litserve.py PORT dense|describe.

It reads the annotation of decode_request, so that has none.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import litserve
import torch

from rivals.dense import describe, network, workers


class Dense(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.net = network()

    def decode_request(self, request) -> torch.Tensor:
        return torch.tensor(request["x"])

    def batch(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(inputs)

    def predict(self, x: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return self.net(x)

    def unbatch(self, output: torch.Tensor) -> list[list[float]]:
        return output.tolist()

    def encode_response(self, output: list[float]) -> dict[str, list[float]]:
        return {"score": output}


class Describe(litserve.LitAPI):
    def setup(self, device: str) -> None:
        return

    def decode_request(self, request) -> str:
        return request["text"]

    def batch(self, inputs: list[str]) -> list[str]:
        return inputs

    def predict(self, texts: list[str]) -> list[dict[str, int]]:
        return [describe(text) for text in texts]

    def unbatch(self, output: list[dict[str, int]]) -> list[dict[str, int]]:
        return output

    def encode_response(self, output: dict[str, int]) -> dict[str, int]:
        return output


if __name__ == "__main__":
    port, kind = int(sys.argv[1]), sys.argv[2]
    api = (Dense if kind == "dense" else Describe)(max_batch_size=32, batch_timeout=0.001)
    litserve.LitServer(api, accelerator="cpu", workers_per_device=workers()).run(
        port=port, host="127.0.0.1", log_level="warning", generate_client_file=False, num_api_servers=1
    )
