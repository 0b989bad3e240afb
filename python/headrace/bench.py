"""`headrace bench`: load on a running server, or on one of its own; figures, a progress line and a plot."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from .client import Client
from .errors import Error, InvalidArgumentError
from .loadtest import Result, closed_loop, open_loop, run_fast
from .roofline import pyplot

_TEXTS = [
    "A headrace leads the water to the wheel.",
    "The market fell sharply after the announcement, then recovered before the close.",
    "How do I reset my password?",
    "Two dogs run across a snowy field.",
    "The committee will meet again on Thursday to discuss the budget for next year.",
    "Great coffee, slow service.",
    "Researchers found that the new alloy withstands twice the pressure of the old one.",
    "Where is the nearest pharmacy that is open at night?",
]


def run(options: argparse.Namespace) -> int:
    """Measures each point that the options name and prints them."""
    open_mode = options.rate is not None
    points = _numbers(
        "--rate" if open_mode else "--connections", options.rate if open_mode else options.connections
    )
    if options.seconds is None:
        options.seconds = 10.0
    if options.batch < 1 or not options.seconds > 0:
        raise InvalidArgumentError(f"--batch={options.batch} --seconds={options.seconds:g}: must be above 0")
    if options.plot is not None:
        pyplot()  # a missing library is told before the measurement, not after
    texts = _TEXTS
    if options.texts is not None:
        with open(options.texts, encoding="utf-8") as file:
            texts = [line.strip() for line in file if line.strip()]
    results = []
    with _server(options.url) as url:
        with Client(url, api_key=options.key) as client:
            listed = [model["id"] for model in client.models()]
            model = options.model or listed[0]
            client.embed(texts[:1], model=model)  # an unknown model is told here, in words
        bodies = _bodies(texts, model, options.batch)
        if not options.json:
            print(f"{model} at {url}, {options.batch} text(s) a request, {options.seconds:g} s a row")
            print("conns     rate    req/s   p50 ms   p90 ms   p99 ms   max ms  answers")
        for point in points:
            result = run_fast(_measure(f"{url}/v1/embeddings", bodies, point, open_mode, options))
            results.append(result)
            summary = result.summary()
            print(json.dumps({"model": model, **summary}) if options.json else _row(summary), flush=True)
    if options.plot is not None:
        _plot(results, options.plot)
    return 0


def _numbers(name: str, value: str) -> list[float]:
    try:
        found = [float(part) for part in value.split(",")]
    except ValueError:
        found = []
    if not found or min(found) <= 0 or max(found) > 100_000:
        raise InvalidArgumentError(
            f"{name}={value}: must be numbers above 0 with commas between, such as 1,8,32"
        )
    return found


def _bodies(texts: list[str], model: str, batch: int) -> list[bytes]:
    if not texts:
        raise InvalidArgumentError("no texts: the file of --texts has no line")
    starts = range(0, max(len(texts), batch), batch)
    return [
        json.dumps({"model": model, "input": [texts[(i + j) % len(texts)] for j in range(batch)]}).encode()
        for i in starts
    ]


@contextlib.contextmanager
def _server(url: str | None) -> Iterator[str]:
    """The address given, without /v1; or that of a server started for this and ended after."""
    if url is not None:
        yield url.rstrip("/").removesuffix("/v1")
        return
    command = [sys.executable, "-m", "headrace.cli", "serve", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            line = process.stdout.readline() if process.stdout is not None else b""
            if not line:
                raise Error("the server did not start: `headrace serve` says why")
            yield json.loads(line)["url"]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


async def _measure(
    url: str, bodies: list[bytes], point: float, open_mode: bool, options: argparse.Namespace
) -> Result:
    def watch(result: Result, elapsed: float) -> None:
        print(
            f"\r{elapsed:5.1f} s  {len(result.latencies) / elapsed:8.1f} req/s  p99 of the last 1,000 "
            f"{result.percentile(0.99, result.latencies[-1000:]) * 1e3:7.1f} ms ",
            end="",
            file=sys.stderr,
            flush=True,
        )

    shown = watch if sys.stderr.isatty() else None
    if open_mode:
        result = await open_loop(
            url, bodies, rate=point, seconds=options.seconds, key=options.key, watch=shown
        )
    else:
        result = await closed_loop(
            url, bodies, connections=int(point), seconds=options.seconds, key=options.key, watch=shown
        )
    if shown is not None:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    return result


def _row(summary: dict[str, Any]) -> str:
    def cell(value: float | None) -> str:
        return "-" if value is None else f"{value:.1f}"

    answers = " ".join(f"{status}:{count}" for status, count in summary["statuses"].items())
    if summary["lost"]:
        answers += f" lost:{summary['lost']}"
    return (
        f"{summary['connections']:5}  {cell(summary['rate']):>7}  {summary['requests_per_second']:7.1f}  "
        f"{cell(summary['p50_ms']):>7}  {cell(summary['p90_ms']):>7}  {cell(summary['p99_ms']):>7}  "
        f"{cell(summary['max_ms']):>7}  {answers}"
    )


def _plot(results: list[Result], path: str) -> None:
    """One measurement: the distribution of its latencies; several: percentiles over the load."""
    plots = pyplot()
    figure, axes = plots.subplots(figsize=(7, 4.5), layout="constrained")
    if len(results) == 1:
        ordered = sorted(results[0].latencies)
        shares = [(i + 1) / len(ordered) * 100 for i in range(len(ordered))]
        axes.step([value * 1000 for value in ordered], shares, where="post")
        axes.set(xlabel="latency, ms", ylabel="answers at or below, %", ylim=(0, 100.5))
    else:
        open_mode = results[0].rate is not None
        loads = [result.rate if open_mode else result.connections for result in results]
        for q in (0.5, 0.9, 0.99):
            axes.plot(loads, [result.percentile(q) * 1000 for result in results], "o-", label=f"p{q * 100:g}")
        axes.set(
            xlabel="requests due a second" if open_mode else "connections", ylabel="latency, ms", yscale="log"
        )
        axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)
    plots.close(figure)
