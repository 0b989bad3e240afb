"""What happens at twice the capacity: who is admitted, how long they wait, how fast the rest is refused.

First the capacity (closed loop, median of three), then requests at random times (Poisson) at a multiple of
it, whatever the server does. Latency counts from the moment a request was due.

    python benchmarks/bench_overload.py
    python benchmarks/bench_overload.py --seconds 10 --factor 3
    python benchmarks/bench_overload.py --protocol grpc --factor 5

Over gRPC the statuses are written as REST has them: 429 is RESOURCE_EXHAUSTED.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import harness
import workloads
from headrace.loadtest import closed_loop, open_loop, run_fast
from servers import HeadraceServer, Server, free_port, infer_request

_SAMPLE = re.compile(r"^(\w+)(?:\{([^}]*)\})? (\S+)$")


def metrics(server: Server) -> dict[tuple[str, str], float]:
    """(name, labels) -> value of all samples at /metrics."""
    samples = {}
    for line in server.get("/metrics").splitlines():
        match = _SAMPLE.match(line)
        if match:
            samples[match.group(1), match.group(2) or ""] = float(match.group(3))
    return samples


def batch_seconds(before: dict[tuple[str, str], float], after: dict[tuple[str, str], float]) -> float:
    """The mean time of a batch in the model between two readings of the metrics."""

    def change(name: str) -> float:
        return sum(value - before.get(key, 0.0) for key, value in after.items() if key[0] == name)

    return change("headrace_forward_seconds_sum") / max(1.0, change("headrace_forward_seconds_count"))


class GrpcServer(HeadraceServer):
    """The same over gRPC, with the vectors as bytes; answers are still checked over HTTP."""

    packages = (*HeadraceServer.packages, "grpcio", "protobuf")

    def __init__(self, model: Path, options: list[str]) -> None:
        self._grpc_port = free_port()
        super().__init__(model, ["--grpc-port", str(self._grpc_port), *options])

    @property
    def load_url(self) -> str:
        return f"grpc://127.0.0.1:{self._grpc_port}/inference.GRPCInferenceService/ModelInfer"

    def load_body(self, text: str) -> bytes:
        return infer_request(text)


class RestServer(HeadraceServer):
    @property
    def load_url(self) -> str:
        return self.url

    def load_body(self, text: str) -> bytes:
        return self.body(text)


PROTOCOLS = {"rest": RestServer, "grpc": GrpcServer}


def main() -> None:
    parser = harness.parser("overload", __doc__)
    parser.add_argument("--protocol", default="rest", choices=list(PROTOCOLS))
    parser.add_argument("--workload", default="short", choices=workloads.NAMES)
    parser.add_argument("--factor", type=float, default=2.0, help="offered load, in capacities")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--capacity-seconds", type=float, default=6.0)
    parser.add_argument("--connections", type=int, default=64, help="of the closed loop")
    parser.add_argument("--queue-budget", type=float, default=0.5, help="seconds of work that may wait")
    arguments = parser.parse_args()
    texts, source = workloads.load(arguments.workload)
    budget = str(arguments.queue_budget)
    server = PROTOCOLS[arguments.protocol](harness.model_path(arguments.model), ["--queue-budget", budget])
    try:
        if len(server.embed(texts[0])) == 0:
            raise SystemExit("the server answers with an empty vector")
        bodies = [server.load_body(text) for text in texts]

        def closed(seconds: float) -> float:
            result = run_fast(
                closed_loop(server.load_url, bodies, connections=arguments.connections, seconds=seconds)
            )
            return result.in_time / seconds

        closed(2.0)  # warm up
        capacities = [closed(arguments.capacity_seconds) for _ in range(3)]
        capacity = harness.percentile(capacities, 0.5)
        memory = [server.memory_mb()]
        before, cpu = metrics(server), time.process_time()
        rate = arguments.factor * capacity
        result = run_fast(open_loop(server.load_url, bodies, rate=rate, seconds=arguments.seconds))
        client_cpu = time.process_time() - cpu
        batch = batch_seconds(before, metrics(server))
        memory.append(server.memory_mb())
        recovered = closed(2.0)  # the storm is over: is all well?
    finally:
        server.stop()
    figures = result.summary()
    goodput = result.in_time / arguments.seconds
    bound_ms = 1000 * (arguments.queue_budget + 2 * batch)
    line = {
        "server": server.name,
        "protocol": arguments.protocol,
        "factor": arguments.factor,
        "workload": arguments.workload,
        "source": source,
        "capacity": harness.spread(capacities, 1),
        "offered": round(rate, 1),
        "seconds": arguments.seconds,
        "unit": "requests/s",
        "goodput": round(goodput, 1),
        "share_of_capacity": round(goodput / capacity, 3),
        "queue_budget": arguments.queue_budget,
        "batch_ms": round(1000 * batch, 2),
        "bound_ms": round(bound_ms, 1),
        "refused": sum(count for status, count in result.statuses.items() if status == 429),
        "client_cpu_share": round(client_cpu / arguments.seconds, 3),
        "memory_mb_before": memory[0],
        "memory_mb_after": memory[1],
        "recovered": round(recovered, 1),
        **{name: figures[name] for name in ("sent", "ok", "lost", "statuses", "p50_ms", "p99_ms", "max_ms")},
        "refused_p50_ms": round(1000 * result.percentile(0.5, result.refusals), 2),
        "refused_p99_ms": figures["refused_p99_ms"],
        "holds": {
            "admitted p99 within the bound": result.percentile(0.99) * 1000 <= bound_ms,
            "others refused with 429 only": set(result.statuses) <= {200, 429},
            "refused p99 within 5 ms": result.percentile(0.99, result.refusals) <= 0.005,
            "goodput at least 95 % of capacity": goodput >= 0.95 * capacity,
            "nothing lost": result.lost == 0,
            "memory grew by at most 16 MB": memory[1] - memory[0] <= 16,
        },
        "versions": harness.versions(*server.packages),
    }
    harness.write("overload", [line], arguments.out)


if __name__ == "__main__":
    main()
