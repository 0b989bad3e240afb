"""A load generator for HTTP on raw asyncio sockets: closed loop and open loop, free of coordinated omission.

Closed loop: each of n connections sends its next request when the last was answered. Open loop: requests are due
at the times of a Poisson process, whatever the server does; each one's latency counts from when it was due, so
a stall shows in every request that it delayed (Tene: "How NOT to measure latency").

The client costs about 40 microseconds a request, so one core can offer some 20,000 a second.
"""

from __future__ import annotations

import asyncio
import gc
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from . import _core
from .errors import InvalidArgumentError


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


class _Connection(asyncio.Protocol):
    """One HTTP/1.1 connection with at most one request under way."""

    def __init__(self) -> None:
        self.alive = True
        self._buffer = bytearray()
        self._answer: asyncio.Future[int] | None = None
        self._needed = 0  # bytes of the answer, once its head is known

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        self.alive = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(0)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._needed == 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._buffer[:end]).lower()
            at = head.find(b"\r\ncontent-length:")
            if at < 0:  # chunked: not what our servers send for a body of known size
                self.transport.abort()
                return
            length = int(head[at + 17 :].split(b"\r\n", 1)[0])
            self._needed = end + 4 + length
            self._closes = b"\r\nconnection: close" in head
        if len(self._buffer) < self._needed:
            return
        status = int(self._buffer[9:12])
        self._buffer.clear()
        self._needed = 0
        if self._closes:
            self.alive = False
            self.transport.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(status)

    def send(self, payload: bytes) -> asyncio.Future[int]:
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(payload)
        return self._answer


class Target:
    """Where to send, and the requests to send in turn, as bytes made once."""

    def __init__(self, url: str, bodies: Sequence[bytes]) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname is None:
            raise InvalidArgumentError(f"url={url!r}: must be http://HOST:PORT/PATH")
        if not bodies:
            raise InvalidArgumentError("bodies is empty: give at least one request body")
        self.host, self.port = parts.hostname, parts.port or 80
        head = (
            f"POST {parts.path or '/'} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
        )
        self._payloads = [f"{head}content-length: {len(body)}\r\n\r\n".encode() + body for body in bodies]
        self._free: list[_Connection] = []
        self._next = 0
        self._open: set[_Connection] = set()

    async def call(self) -> int:
        """Sends the next request on a free connection or a new one; its status, or 0 when none came."""
        payload = self._payloads[self._next % len(self._payloads)]
        self._next += 1
        connection = None
        while self._free and connection is None:
            connection = self._free.pop()
            if not connection.alive:
                self._open.discard(connection)
                connection = None
        if connection is None:
            try:
                loop = asyncio.get_running_loop()
                _, connection = await loop.create_connection(_Connection, self.host, self.port)
            except OSError:
                return 0
            self._open.add(connection)
        status = await connection.send(payload)
        if connection.alive:
            self._free.append(connection)
        else:
            self._open.discard(connection)
        return status

    def close(self) -> None:
        for connection in self._open:
            connection.transport.abort()


Watch = Callable[[Result, float], None]


async def closed_loop(
    url: str, bodies: Sequence[bytes], *, connections: int, seconds: float, watch: Watch | None = None
) -> Result:
    """Keeps `connections` requests under way for `seconds`; `watch(result, elapsed)` is called now and then."""
    target = Target(url, bodies)
    result = Result("closed", seconds, connections)
    start = time.perf_counter()
    end = start + seconds

    async def one_connection() -> None:
        while (sent := time.perf_counter()) < end:
            result.sent += 1
            status = await target.call()
            now = time.perf_counter()
            result.add(status, now - sent, now <= end)
            if status != 200:
                await asyncio.sleep(0.01)  # a refused client that returned at once would measure the refusals

    async with _watched(watch, result, start):
        await asyncio.gather(*(one_connection() for _ in range(connections)))
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
    watch: Watch | None = None,
) -> Result:
    """Requests due at random times, `rate` a second for `seconds`; `patience` more for the last answers."""
    target = Target(url, bodies)
    result = Result("open", seconds, 0, rate)
    source = random.Random(seed)
    start = time.perf_counter()
    end = start + seconds
    under_way: set[asyncio.Task[None]] = set()

    async def one_request(due: float) -> None:
        status = await target.call()
        now = time.perf_counter()
        result.add(status, now - due, now <= end)

    async with _watched(watch, result, start):
        due = start
        while (due := due + source.expovariate(rate)) < end:
            pause = due - time.perf_counter()
            if pause > 0:
                await asyncio.sleep(pause)
            elif result.sent % 64 == 0:
                await asyncio.sleep(0)  # behind schedule: still let answers in
            result.sent += 1
            task = asyncio.create_task(one_request(due))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            result.connections = max(result.connections, len(under_way))
        if under_way:
            await asyncio.wait(under_way, timeout=patience)
    result.lost += len(under_way)
    for task in list(under_way):
        task.cancel()
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
