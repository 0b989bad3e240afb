"""Ray Serve with its own batching, on this machine alone: python rivals/dense_ray.py PORT.

As many replicas of each as BENCH_WORKERS says, whose health is not asked for while the benchmark has stopped all of
its processes.
"""

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import ray
import torch
from ray import serve
from starlette.requests import Request

from rivals.dense import describe, network, workers

HOUR = 3600.0
options = {
    "num_replicas": workers(),
    "max_ongoing_requests": 1024,
    "health_check_period_s": HOUR,
    "health_check_timeout_s": HOUR,
    "ray_actor_options": {"num_cpus": 0.1},
}


@serve.deployment(**options)
class Dense:
    def __init__(self) -> None:
        self.net = network()

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.001)
    async def scores(self, rows: list[list[float]]) -> list[list[float]]:
        with torch.inference_mode():
            return self.net(torch.tensor(rows)).tolist()

    async def __call__(self, request: Request) -> dict[str, list[float]]:
        if request.method == "GET":
            return {}  # it is ready
        return {"score": await self.scores((await request.json())["x"])}


@serve.deployment(**options)
class Describe:
    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.001)
    async def all(self, texts: list[str]) -> list[dict[str, int]]:
        return [describe(text) for text in texts]

    async def __call__(self, request: Request) -> dict[str, int]:
        return await self.all((await request.json())["text"])


if __name__ == "__main__":
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=80_000_000,
        log_to_driver=False,
    )
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Describe.bind(), name="describe", route_prefix="/describe")
    serve.run(Dense.bind(), name="dense", route_prefix="/predict")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
