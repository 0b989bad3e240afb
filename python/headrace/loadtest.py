"""A load generator for HTTP and gRPC on raw asyncio sockets: closed loop and open loop, free of coordinated omission.

Closed loop: each of n connections sends its next request when the last was answered. Open loop: requests are due
at the times of a Poisson process, whatever the server does; each one's latency counts from when it was due, so
a stall shows in every request that it delayed (Tene: "How NOT to measure latency").

Everything runs in callbacks; see loadtarget.py. A URL of the form grpc://HOST:PORT/SERVICE/METHOD is called over gRPC,
with serialised messages as bodies (loadtarget_grpc.py); statuses are then those that REST has in the same place.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from . import _core
from .loadtarget import target_of

_EARLY = 0.0005  # seconds; event loops' timers count milliseconds
_SENT_PER_TURN = 64


@dataclass
class Result:
    """One measurement. Latencies are of answers with status 200, in seconds, in the order of completion."""

    mode: str
    seconds: float
    connections: int
    rate: float | None = None
    sent: int = 0
    lost: int = 0  # no answer: refused or broken connections, or none within the patience at the end
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)  # latencies of the answers other than 200
    in_time: int = 0  # answers with 200 within the measured time

    def percentile(self, q: float, values: Sequence[float] | None = None) -> float:
        """The smallest latency that a share q of the answers does not exceed; nan without answers."""
        ordered = sorted(self.latencies if values is None else values)
        return ordered[max(0, math.ceil(q * len(ordered)) - 1)] if ordered else math.nan

    def summary(self) -> dict[str, Any]:
        """The figures, in milliseconds, for JSON."""
        names = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99, "p999_ms": 0.999, "max_ms": 1.0}
        figures = {name: self.percentile(q) for name, q in names.items()}
        refused = self.percentile(0.99, self.refusals)
        return {
            "mode": self.mode,
            "connections": self.connections,
            "rate": self.rate,
            "seconds": round(self.seconds, 3),
            "sent": self.sent,
            "ok": len(self.latencies),
            "lost": self.lost,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "requests_per_second": round(self.in_time / self.seconds, 2) if self.seconds else 0.0,
            **{name: _milliseconds(value) for name, value in figures.items()},
            "refused_p99_ms": _milliseconds(refused),
        }

    def add(self, status: int, latency: float, in_time: bool) -> None:
        """Counts one answer; status 0 is none."""
        if status == 0:
            self.lost += 1
            return
        self.statuses[status] += 1
        if status == 200:
            self.latencies.append(latency)
            self.in_time += in_time
        else:
            self.refusals.append(latency)


def _milliseconds(seconds: float) -> float | None:
    return None if math.isnan(seconds) else round(seconds * 1000, 3)


Watch = Callable[[Result, float], None]


async def closed_loop(
    url: str,
    bodies: Sequence[bytes],
    *,
    connections: int,
    seconds: float,
    key: str | None = None,
    watch: Watch | None = None,
) -> Result:
    """Keeps `connections` requests under way for `seconds`; `watch(result, elapsed)` is called now and then."""
    target = target_of(url, bodies, key)
    result = Result("closed", seconds, connections)
    loop = asyncio.get_running_loop()
    all_ended = asyncio.Event()
    start = time.perf_counter()
    end = start + seconds
    running = connections

    def send() -> None:
        nonlocal running
        sent = time.perf_counter()
        if sent < end:
            result.sent += 1
            target.send(partial(answered, sent))
            return
        running -= 1
        if running == 0:
            all_ended.set()

    def answered(sent: float, status: int) -> None:
        now = time.perf_counter()
        result.add(status, now - sent, now <= end)
        if status == 200:
            send()
        else:  # a refused client that returned at once would measure the refusals
            loop.call_later(0.01, send)

    async with _watched(watch, result, start):
        for _ in range(connections):
            send()
        await all_ended.wait()
    target.close()
    return result


async def open_loop(
    url: str,
    bodies: Sequence[bytes],
    *,
    rate: float,
    seconds: float,
    patience: float = 10.0,
    seed: int = 1,
    key: str | None = None,
    watch: Watch | None = None,
) -> Result:
    """Requests due at random times, `rate` a second for `seconds`; `patience` more for the last answers."""
    target = target_of(url, bodies, key)
    result = Result("open", seconds, 0, rate)
    source = random.Random(seed)
    loop = asyncio.get_running_loop()
    all_sent, all_answered = asyncio.Event(), asyncio.Event()
    start = time.perf_counter()
    end = start + seconds
    due = start + source.expovariate(rate)
    under_way = 0

    def send_due() -> None:
        nonlocal due, under_way
        for _ in range(_SENT_PER_TURN):  # behind schedule: still let answers in
            now = time.perf_counter()
            if due > min(now + _EARLY, end):
                break
            result.sent += 1
            under_way += 1
            result.connections = max(result.connections, under_way)
            # What leaves early counts from then: no latency is made shorter by it.
            target.send(partial(answered, min(due, now)))
            due += source.expovariate(rate)
        if due < end:
            loop.call_later(max(0.0, due - time.perf_counter()), send_due)
        else:
            all_sent.set()

    def answered(sent: float, status: int) -> None:
        nonlocal under_way
        now = time.perf_counter()
        result.add(status, now - sent, now <= end)
        under_way -= 1
        if under_way == 0 and all_sent.is_set():
            all_answered.set()

    async with _watched(watch, result, start):
        send_due()
        await all_sent.wait()
        if under_way:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(all_answered.wait(), patience)
    result.lost += under_way
    target.close()
    return result


def run_fast(main: Coroutine[Any, Any, Result]) -> Result:
    """asyncio.run on uvloop where it is installed: the generator should cost less than what it measures.

    The thread asks to run soon after it wakes, or on a busy machine it would measure its own waiting.
    """
    _core.prefer_latency()
    gc.freeze()
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


class _watched:
    """Calls watch(result, elapsed) every half second while the block runs."""

    def __init__(self, watch: Watch | None, result: Result, start: float) -> None:
        self._watch = watch
        self._result = result
        self._start = start
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        if self._watch is not None:
            self._task = asyncio.create_task(self._repeat(self._watch))

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _repeat(self, watch: Watch) -> None:
        while True:
            await asyncio.sleep(0.5)
            watch(self._result, time.perf_counter() - self._start)
