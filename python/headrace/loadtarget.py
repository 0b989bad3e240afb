"""The sockets of the load generator: requests made once as bytes, answers read just far enough to count them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from .errors import InvalidArgumentError

if TYPE_CHECKING:
    from .loadtarget_grpc import GrpcTarget

Answered = Callable[[int], None]  # called with the answer's status; 0 when none came
_UNTOLD = -1


def _end_of_chunks(data: bytes, at: int) -> int:
    """Where a body ends that comes in chunks, without trailers; _UNTOLD while its end has not come."""
    while (line := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:line].split(b";", 1)[0], 16)
        at = line + 2 + size + 2
        if size == 0 or at > len(data):
            return at if at <= len(data) else _UNTOLD
    return _UNTOLD


class _Connection(asyncio.Protocol):
    """One HTTP/1.1 connection with at most one request under way."""

    def __init__(self, free: list[_Connection]) -> None:
        self.alive = True
        self._free = free
        self._buffer = b""
        self._needed = _UNTOLD  # bytes of the answer, once its head is known
        self._closes = False
        self._answered: Answered | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        self.alive = False
        self._tell(0)

    def send(self, payload: bytes, answered: Answered) -> None:
        self._answered = answered
        self.transport.write(payload)

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        if self._needed == _UNTOLD:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = data
                return
            head = data[:end].lower()
            at = head.find(b"\r\ncontent-length:")
            if at >= 0:
                self._needed = end + 4 + int(head[at + 17 :].split(b"\r\n", 1)[0])
            elif b"\r\ntransfer-encoding: chunked" in head:
                self._needed = _end_of_chunks(data, end + 4)
                if self._needed == _UNTOLD:
                    self._buffer = data
                    return
            else:
                self.transport.abort()
                return
            self._closes = b"\r\nconnection: close" in head
        if len(data) < self._needed:
            self._buffer = data
            return
        self._buffer = b""
        self._needed = _UNTOLD
        if self._closes:
            self.alive = False
            self.transport.close()
        else:
            self._free.append(self)
        self._tell(int(data[9:12]))

    def abandon(self) -> None:
        """Ends it untold: who asked has stopped counting."""
        self._answered = None
        self.transport.abort()

    def _tell(self, status: int) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            answered(status)


class Target:
    """Where to send, and the requests to send in turn. Belongs to the running event loop.

    Callbacks instead of tasks: what the generator costs, the server under test lacks.
    """

    def __init__(self, parts: SplitResult, bodies: Sequence[bytes], key: str | None = None) -> None:
        self._host, self._port = parts.hostname or "", parts.port or 80
        head = (
            f"POST {parts.path or '/'} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
        )
        if key is not None:
            head += f"authorization: Bearer {key}\r\n"
        self._payloads = [f"{head}content-length: {len(body)}\r\n\r\n".encode() + body for body in bodies]
        self._next = 0
        self._free: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._connecting: set[asyncio.Task[None]] = set()

    def send(self, answered: Answered) -> None:
        """Sends the next request on a free connection, or on a new one; `answered` is called once."""
        payload = self._payloads[self._next % len(self._payloads)]
        self._next += 1
        while self._free:
            connection = self._free.pop()
            if connection.alive:
                connection.send(payload, answered)
                return
            self._open.discard(connection)
        task = asyncio.get_running_loop().create_task(self._connect(payload, answered))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, payload: bytes, answered: Answered) -> None:
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: _Connection(self._free), self._host, self._port
            )
        except OSError:
            answered(0)
            return
        self._open.add(connection)
        connection.send(payload, answered)

    def close(self) -> None:
        for task in list(self._connecting):
            task.cancel()
        for connection in self._open:
            connection.abandon()


def target_of(url: str, bodies: Sequence[bytes], key: str | None = None) -> Target | GrpcTarget:
    """What the URL names. InvalidArgumentError for another kind of URL, or without a body."""
    parts = urlsplit(url)
    if not bodies:
        raise InvalidArgumentError("bodies is empty: give at least one request body")
    if parts.scheme == "http" and parts.hostname is not None:
        return Target(parts, bodies, key)
    if parts.scheme == "grpc" and parts.port is not None and parts.path.count("/") == 2:
        from .loadtarget_grpc import GrpcTarget

        return GrpcTarget(parts, bodies, key)
    raise InvalidArgumentError(
        f"url={url!r}: must be http://HOST:PORT/PATH or grpc://HOST:PORT/SERVICE/METHOD"
    )
