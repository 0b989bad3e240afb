"""What each way in costs: one short text a request, by every protocol, at the same server.

The server's processor time a request is what counts: the model's share of it is the same for all. Clients differ (raw
sockets for HTTP, grpcio's own for gRPC), so requests a second of different clients say less.

    python benchmarks/bench_fronts.py
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import harness
import workloads
from headrace.loadtest import closed_loop, run_fast
from servers import HeadraceServer, free_port, infer_request

CONNECTIONS = 16


def bodies(front: str, texts: list[str]) -> list[bytes]:
    """Requests of one text each."""
    made: dict[str, Callable[[str], Any]] = {
        "/v1/embeddings": lambda text: {"model": "minilm", "input": text},
        "/v1/embeddings base64": lambda text: {"model": "minilm", "input": text, "encoding_format": "base64"},
        "/embed": lambda text: {"model": "minilm", "inputs": text},
        "/v2/models/minilm/infer": lambda text: {
            "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}]
        },
        "/v2/models/minilm/infer binary answer": lambda text: {
            "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}],
            "parameters": {"binary_data_output": True},
        },
    }
    return [json.dumps(made[front](text)).encode() for text in texts]


HTTP = (
    *("/v1/embeddings", "/v1/embeddings base64", "/embed"),
    *("/v2/models/minilm/infer", "/v2/models/minilm/infer binary answer"),
)


class Fronts(HeadraceServer):
    """HTTP and gRPC; `ordinary` answers without the short way, as other servers' ASGI applications are run."""

    def __init__(self, model: Any, ordinary: bool = False) -> None:
        self.grpc_port = free_port()
        options = ["--grpc-port", str(self.grpc_port), "--queue-budget", "60"]
        # The access log is for the ordinary way only, and at this level it writes nothing.
        super().__init__(model, [*options, *(["--access-log"] if ordinary else [])])


async def over_grpc(port: int, texts: list[str], seconds: float) -> int:
    """Answers that CONNECTIONS tasks get over one channel."""
    import grpc

    requests = [infer_request(text) for text in texts]
    answered = 0
    end = time.perf_counter() + seconds
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")

        async def ask(start: int) -> None:
            nonlocal answered
            number = start
            while time.perf_counter() < end:
                await call(requests[number % len(requests)])
                answered += 1
                number += CONNECTIONS

        await asyncio.gather(*(ask(start) for start in range(CONNECTIONS)))
    return answered


def measure(server: Fronts, front: str, texts: list[str], seconds: float) -> tuple[float, float]:
    """Requests a second, and the server's processor milliseconds for each."""
    before = server.cpu_seconds()
    if front == "gRPC":
        answered = asyncio.run(over_grpc(server.grpc_port, texts, seconds))
    else:
        url = server.base + front.partition(" ")[0]
        result = run_fast(closed_loop(url, bodies(front, texts), connections=CONNECTIONS, seconds=seconds))
        if set(result.statuses) != {200}:
            raise SystemExit(f"{front}: answered {dict(result.statuses)}")
        answered = len(result.latencies)
    return answered / seconds, 1000 * (server.cpu_seconds() - before) / answered


def main() -> None:
    parser = harness.parser("fronts", __doc__)
    parser.add_argument("--workload", default="short", choices=workloads.NAMES)
    parser.add_argument("--seconds", type=float, default=4.0, help="of one turn")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    texts, source = workloads.load(arguments.workload)
    model = harness.model_path(arguments.model)
    server, ordinary = Fronts(model), Fronts(model, ordinary=True)
    fronts = [(server, front) for front in (*HTTP, "gRPC")]
    fronts.insert(1, (ordinary, "/v1/embeddings"))
    rates: list[list[float]] = [[] for _ in fronts]
    costs: list[list[float]] = [[] for _ in fronts]
    try:
        for one in (server, ordinary):
            measure(one, "/v1/embeddings", texts, 1.5)
            one.pause()
        for _ in range(arguments.rounds):
            for number, (one, front) in enumerate(fronts):
                one.resume()
                rate, cost = measure(one, front, texts, arguments.seconds)
                one.pause()
                rates[number].append(rate)
                costs[number].append(cost)
    finally:
        server.stop()
        ordinary.stop()
    lines = []
    for number, (one, front) in enumerate(fronts):
        lines.append(
            {
                "front": front + (" (ordinary way)" if one is ordinary else ""),
                "connections": CONNECTIONS,
                "unit": "requests/s",
                **harness.spread(rates[number], 1),
                "server_cpu_ms_per_request": harness.spread(costs[number], 3),
                "workload": arguments.workload,
                "source": source,
                "seconds": arguments.seconds,
                "versions": harness.versions(
                    "headrace", "uvicorn", "uvloop", "httptools", "grpcio", "protobuf"
                ),
            }
        )
    harness.write("fronts", lines, arguments.out)


if __name__ == "__main__":
    main()
