"""Requests a second and latency over HTTP, one short text a request, 32 connections, closed loop.

headrace serve against FastAPI + sentence-transformers, as most write it first (naive) and next (batched).

    python benchmarks/bench_http.py
    python benchmarks/bench_http.py --servers naive batched --seconds 3 --rounds 1
    python benchmarks/bench_http.py --servers headrace --offline    # what serving leaves of embed()'s speed, in f32

The client runs on the processors that the server has.
"""

from __future__ import annotations

import os
from typing import Any

import harness
import workloads
from headrace.loadtest import Result, closed_loop, run_fast
from servers import SERVERS, Server
from turns import Worker

TOLERANCE = 2e-5


def check(servers: list[Server], texts: list[str]) -> dict[str, float]:
    """The largest difference of each server's answers from those of the first rival."""
    reference = next((one for one in servers if one.name != "headrace"), None)
    if reference is None:
        print("not checked: no rival among the servers")
        return {}
    differences = {}
    for server in servers:
        server.resume()
        pairs = zip(texts, [reference.embed(text) for text in texts], strict=True)
        found = [
            max(abs(a - b) for a, b in zip(server.embed(text), expected, strict=True))
            for text, expected in pairs
        ]
        differences[server.name] = max(found)
        if max(found) > TOLERANCE:
            raise SystemExit(
                f"{server.name}: differs from {reference.name} by {max(found)}; at most {TOLERANCE}"
            )
    return differences


def measure(server: Server, bodies: list[bytes], connections: int, seconds: float) -> tuple[Result, float]:
    """One turn of a server, the others being stopped, and the processor seconds it took."""
    server.resume()
    before = server.cpu_seconds()
    result = run_fast(closed_loop(server.url, bodies, connections=connections, seconds=seconds))
    used = server.cpu_seconds() - before
    server.pause()
    return result, used


def line(server: Server, results: list[Result], used: list[float]) -> dict[str, Any]:
    """What a result line says of one server; `used`: its processor seconds in each turn."""
    latencies = [1000 * latency for result in results for latency in result.latencies]
    rates = [result.in_time / result.seconds for result in results]
    answered = sum(len(result.latencies) for result in results)
    return {
        "server": server.name,
        "connections": results[0].connections,
        "seconds": results[0].seconds,
        "unit": "requests/s",
        **harness.spread(rates, 1),
        "p50_ms": round(harness.percentile(latencies, 0.50), 2),
        "p99_ms": round(harness.percentile(latencies, 0.99), 2),
        "requests": answered,
        "not_200": sum(result.sent for result in results) - answered,
        "server_cpu_ms_per_request": round(1000 * sum(used) / max(1, answered), 3),
        "ready_seconds": server.ready_seconds,
        "memory_mb": server.memory_mb(),
    }


def main() -> None:
    parser = harness.parser("http", __doc__)
    parser.add_argument("--servers", nargs="+", default=list(SERVERS), choices=list(SERVERS))
    parser.add_argument("--workload", default="short", choices=workloads.NAMES)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=6.0, help="of one turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--offline", action="store_true", help="the same texts in one call of embed(), in turns"
    )
    arguments = parser.parse_args()
    model = harness.model_path(arguments.model)
    texts, source = workloads.load(arguments.workload)
    servers: list[Server] = []
    offline: Worker | None = None
    offline_rates: list[float] = []
    offline_cpu: list[float] = []
    try:
        for name in arguments.servers:
            same = arguments.offline and name == "headrace"
            servers.append(SERVERS[name](model, ["--precision", "f32"] if same else []))
        if arguments.offline:
            offline = Worker("headrace", model, sorted(os.sched_getaffinity(0)))
            offline.turn(do="time", texts=texts)  # warm up
        differences = check(servers, texts[:20])
        bodies = [[server.body(text) for text in texts] for server in servers]
        results: list[list[Result]] = [[] for _ in servers]
        used: list[list[float]] = [[] for _ in servers]
        for server in servers:
            server.pause()
        for server, requests in zip(servers, bodies, strict=True):
            measure(server, requests, arguments.connections, min(2.0, arguments.seconds))  # warm up
        for number in range(arguments.rounds):
            order = list(range(len(servers)))
            if offline:
                answer = offline.turn(do="time", texts=texts)
                offline_rates.append(len(texts) / answer["seconds"])
                offline_cpu.append(1000 * answer["cpu_seconds"] / len(texts))
            for index in order[number % len(order) :] + order[: number % len(order)]:
                result, cpu = measure(servers[index], bodies[index], arguments.connections, arguments.seconds)
                results[index].append(result)
                used[index].append(cpu)
        whole = harness.spread(offline_rates, 1)["median"]
        beside = {
            "offline_texts_per_second": whole,
            "offline_cpu_ms_per_text": harness.spread(offline_cpu)["median"],
        }
        lines = [
            {
                "workload": arguments.workload,
                "source": source,
                **(told := line(server, results[index], used[index])),
                **({**beside, "share_of_offline": round(told["median"] / whole, 3)} if offline else {}),
                "difference": differences.get(server.name),
                "versions": harness.versions(*server.packages),
            }
            for index, server in enumerate(servers)
        ]
    finally:
        for server in servers:
            server.stop()
        if offline:
            offline.close()
    harness.write("http", lines, arguments.out)


if __name__ == "__main__":
    main()
