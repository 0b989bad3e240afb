"""How long texts of all lengths wait at a rate that does not depend on the server: up to its capacity, without a cliff.

First the capacity (closed loop, median of three), then requests at random times (Poisson) at shares of it. A server
that pads its batches answers less the fuller they are: at some rate its queue grows for good, which `--rates` in
requests a second show beside ours (`--rival`).

    python benchmarks/bench_rates.py
    python benchmarks/bench_rates.py --rival --rates 25 50
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import harness
import workloads
from headrace.loadtest import closed_loop, open_loop, run_fast
from servers import BatchedServer, HeadraceServer, Server

SHARES = (0.25, 0.5, 0.7, 0.8, 0.9, 0.95)


def lines_of(server: Server, texts: list[str], arguments: Any) -> list[dict[str, Any]]:
    bodies = [server.body(text) for text in texts]

    def closed(seconds: float) -> float:
        loop = closed_loop(server.url, bodies, connections=arguments.connections, seconds=seconds)
        return run_fast(loop).in_time / seconds

    closed(2.0)  # warm up
    capacities = [closed(arguments.capacity_seconds) for _ in range(3)]
    capacity = harness.percentile(capacities, 0.5)
    lines = []
    for rate in arguments.rates or [share * capacity for share in SHARES]:
        result = run_fast(open_loop(server.url, bodies, rate=rate, seconds=arguments.seconds))
        figures = result.summary()
        lines.append(
            {
                "server": server.name,
                "workload": arguments.workload,
                "capacity": harness.spread(capacities, 1),
                "unit": "requests/s",
                "rate": round(rate, 1),
                "share_of_capacity": round(rate / capacity, 2),
                "answered": round(result.in_time / arguments.seconds, 1),
                "not_200": sum(count for status, count in result.statuses.items() if status != 200),
                **{name: figures[name] for name in ("lost", "p50_ms", "p90_ms", "p99_ms")},
                "seconds": arguments.seconds,
                "versions": harness.versions(*server.packages),
            }
        )
    return lines


def main() -> None:
    parser = harness.parser("rates", __doc__)
    parser.add_argument("--workload", default="mixed", choices=workloads.NAMES)
    parser.add_argument(
        "--rates", type=float, nargs="+", help="requests a second instead of shares of the capacity"
    )
    parser.add_argument("--rival", action="store_true", help="also measure a server that pads its batches")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each rate")
    parser.add_argument("--capacity-seconds", type=float, default=4.0)
    parser.add_argument("--connections", type=int, default=32, help="of the closed loop")
    arguments = parser.parse_args()
    texts, source = workloads.load(arguments.workload)
    model: Path = harness.model_path(arguments.model)
    kinds: list[type[Server]] = [HeadraceServer, *([BatchedServer] if arguments.rival else [])]
    lines = []
    for kind in kinds:
        server = kind(model)
        try:
            lines += [{**line, "source": source} for line in lines_of(server, texts, arguments)]
        finally:
            server.stop()
    harness.write("rates", lines, arguments.out)


if __name__ == "__main__":
    main()
