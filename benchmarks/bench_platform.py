"""What the platform costs: the bare server beside one with keys, limits, audit and masking, on short embeddings.

Then what slow clients cost good ones, and what a tenant far above its limit costs another. Servers take turns, the
others being stopped, so that all see the same machine.

    python benchmarks/bench_platform.py
    python benchmarks/bench_platform.py --seconds 3 --rounds 2 --cases overhead
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import socket
import statistics
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import harness
import workloads
from headrace.catalogue import Catalogue
from headrace.loadtest import Result, closed_loop, open_loop, run_fast
from headrace.security.keys import Pepper, make_key
from headrace.security.scopes import Limits
from servers import HeadraceServer

# What is added at each step; the last one is everything.
STEPS: dict[str, list[str]] = {
    "bare": [],
    "keys": ["--require-keys"],
    "keys, audit": ["--require-keys", "--audit"],
    "keys, audit, masking": ["--require-keys", "--audit", "--mask"],
    "keys, strict audit, masking": ["--require-keys", "--audit-strict", "--mask"],
}
# Drift is watched in all of them, as by default; this is the bare server without.
NO_DRIFT = "bare, drift not watched"
CASES = ("overhead", "slow clients", "noisy neighbour")


class Platform(HeadraceServer):
    """`headrace serve` with a folder of its own, and keys in it."""

    def __init__(self, model: Path, options: Sequence[str] = ()) -> None:
        self.state = tempfile.TemporaryDirectory()
        folder = Path(self.state.name)
        pepper = Pepper.find(folder, create=True)
        self.keys = {}
        # Limits that are counted and never reached, but for the one who is to reach them.
        limits = {"good": Limits(10**9, 10**9, 10**11), "other": Limits(10**9), "noisy": Limits(60 * 20)}
        with Catalogue(f"sqlite:///{folder}/catalogue.sqlite") as catalogue:
            for name, limit in limits.items():
                self.keys[name], key = make_key(pepper, name, ["infer", "metrics"], limits=limit)
                catalogue.add(key)
        self.has_keys = "--require-keys" in options
        super().__init__(model, [*options, "--state", str(folder)])

    def key(self, name: str = "good") -> str | None:
        return self.keys[name] if self.has_keys else None

    def embed(self, text: str) -> list[float]:
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.keys['good']}"}
        request = urllib.request.Request(self.url, data=self.body(text), headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return self.vector(json.load(answer))

    def stop(self) -> None:
        super().stop()
        self.state.cleanup()


def without_drift(model: Path, folder: Path) -> Path:
    """The model in `folder`, with a manifest that has no drift watched."""
    for file in model.iterdir():
        if file.name != "headrace.toml":
            (folder / file.name).symlink_to(file)
    (folder / "headrace.toml").write_text("[drift]\nwindow = 0\n")
    return folder


def overhead(model: Path, texts: list[str], arguments: Any) -> Iterator[dict[str, Any]]:
    servers: dict[str, Platform] = {}
    folder = tempfile.TemporaryDirectory()
    try:
        for name, options in STEPS.items():
            servers[name] = Platform(model, options)
        servers[NO_DRIFT] = Platform(without_drift(model, Path(folder.name)))
        expected = servers["bare"].embed(texts[0])
        bodies = [servers["bare"].body(text) for text in texts]
        for server in servers.values():
            if server.embed(texts[0]) != expected:
                raise SystemExit(f"{server.name}: another answer than the bare server's")
            run_fast(closed_loop(server.url, bodies, connections=32, seconds=1.5, key=server.key()))
            server.pause()
        rates: dict[str, list[float]] = {name: [] for name in servers}
        latencies: dict[str, list[float]] = {name: [] for name in servers}
        for _ in range(arguments.rounds):
            for name, server in servers.items():
                server.resume()
                loop = closed_loop(
                    server.url, bodies, connections=32, seconds=arguments.seconds, key=server.key()
                )
                result = run_fast(loop)
                server.pause()
                if set(result.statuses) != {200}:
                    raise SystemExit(f"{name}: answered {dict(result.statuses)}")
                rates[name].append(result.in_time / arguments.seconds)
                latencies[name] += result.latencies
        for name in servers:
            paired = [own / bare for own, bare in zip(rates[name], rates["bare"], strict=True)]
            yield {
                "case": "overhead",
                "server": name,
                "connections": 32,
                "unit": "requests/s",
                **harness.spread(rates[name], 1),
                "share_of_bare": round(statistics.median(paired), 3),
                "p50_ms": round(1000 * harness.percentile(latencies[name], 0.5), 2),
                "p99_ms": round(1000 * harness.percentile(latencies[name], 0.99), 2),
            }
    finally:
        for server in servers.values():
            server.stop()
        folder.cleanup()


@contextlib.contextmanager
def slow_heads(port: int, count: int) -> Iterator[None]:
    """`count` connections that send a head byte by byte and begin again when they are closed."""
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, 2 * count + 200), limit))
    head = b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\n"
    end = threading.Event()

    def keep() -> None:
        open_: list[socket.socket | None] = [None] * count
        turn = 0
        while not end.is_set():
            for place in range(turn % 20, count, 20):  # each once a second
                client = open_[place]
                try:
                    if client is None:
                        client = open_[place] = socket.create_connection(("127.0.0.1", port), timeout=2)
                        client.sendall(head)
                    else:
                        client.sendall(b"x-more: y\r\n")
                except OSError:
                    if client is not None:
                        client.close()
                    open_[place] = None
            turn += 1
            end.wait(0.05)
        for client in open_:
            if client is not None:
                client.close()

    thread = threading.Thread(target=keep)
    thread.start()
    time.sleep(3)
    try:
        yield
    finally:
        end.set()
        thread.join()


def slow_clients(model: Path, texts: list[str], arguments: Any) -> Iterator[dict[str, Any]]:
    server = Platform(model, STEPS["keys, audit"])
    try:
        bodies = [server.body(text) for text in texts]
        capacity = closed_loop(server.url, bodies, connections=32, seconds=3, key=server.key())
        rate = 0.4 * run_fast(capacity).in_time / 3

        def good() -> Result:
            loop = open_loop(server.url, bodies, rate=rate, seconds=arguments.seconds, key=server.key())
            return run_fast(loop)

        alone, beside = [], []
        for _ in range(arguments.rounds):
            alone.append(good())
            with slow_heads(server.port, 1000):
                beside.append(good())
    finally:
        server.stop()
    yield {"case": "slow clients", "server": "keys, audit", "slow": 1000, **_compared(alone, beside, rate)}


def _compared(alone: list[Result], beside: list[Result], rate: float) -> dict[str, Any]:
    """p99 alone and beside others: the median of the turns, and of the ratios of neighbouring turns."""
    pairs = [(one.percentile(0.99), two.percentile(0.99)) for one, two in zip(alone, beside, strict=True)]
    return {
        "unit": "ms",
        "rate": round(rate, 1),
        "alone_p99_ms": round(1000 * statistics.median(one for one, _ in pairs), 2),
        "beside_p99_ms": round(1000 * statistics.median(two for _, two in pairs), 2),
        "ratio": round(statistics.median(two / one for one, two in pairs), 3),
        "not_200": sum(result.sent - result.statuses[200] for result in [*alone, *beside]),
        "n": len(pairs),
    }


async def _both(server: Platform, bodies: list[bytes], rate: float, seconds: float) -> Result:
    """A good tenant at `rate`, beside one that sends ten times what its limit allows."""
    noisy = open_loop(server.url, bodies, rate=200, seconds=seconds, key=server.key("noisy"), seed=2)
    good = open_loop(server.url, bodies, rate=rate, seconds=seconds, key=server.key("other"))
    found, _ = await asyncio.gather(good, noisy)
    return found


def noisy_neighbour(model: Path, texts: list[str], arguments: Any) -> Iterator[dict[str, Any]]:
    server = Platform(model, STEPS["keys, audit"])
    try:
        bodies = [server.body(text) for text in texts]
        capacity = closed_loop(server.url, bodies, connections=32, seconds=3, key=server.key())
        rate = 0.4 * run_fast(capacity).in_time / 3
        alone, beside = [], []
        # What the noisy one had saved up is used first: a limit allows a whole period at once.
        run_fast(closed_loop(server.url, bodies, connections=32, seconds=8, key=server.key("noisy")))
        for _ in range(arguments.rounds):
            loop = open_loop(
                server.url, bodies, rate=rate, seconds=arguments.seconds, key=server.key("other")
            )
            alone.append(run_fast(loop))
            # It has saved up again while the other was alone.
            run_fast(closed_loop(server.url, bodies, connections=32, seconds=2, key=server.key("noisy")))
            beside.append(run_fast(_both(server, bodies, rate, arguments.seconds)))
    finally:
        server.stop()
    yield {
        "case": "noisy neighbour",
        "server": "keys, audit",
        "noisy_rate": 200,
        "noisy_limit": 20,
        **_compared(alone, beside, rate),
    }


def main() -> None:
    parser = harness.parser("platform", __doc__)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--workload", default="short", choices=workloads.NAMES)
    parser.add_argument("--seconds", type=float, default=6.0, help="of one turn")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    texts, source = workloads.load(arguments.workload)
    model = harness.model_path(arguments.model)
    runs = {"overhead": overhead, "slow clients": slow_clients, "noisy neighbour": noisy_neighbour}
    lines = []
    for case in arguments.cases:
        for line in runs[case](model, texts, arguments):
            line |= {"workload": arguments.workload, "source": source, "seconds": arguments.seconds}
            lines.append({**line, "versions": harness.versions(*HeadraceServer.packages)})
    harness.write("platform", lines, arguments.out)


if __name__ == "__main__":
    main()
