"""The load generator's side of gRPC: unary calls over raw HTTP/2 frames (RFC 9113), read just far enough to count them.

A client of grpcio costs as much processor time as the server that it measures. Here a call is bytes made once, headers
are literals that no table has (RFC 7541), and of an answer only its end and its status are looked at.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from urllib.parse import SplitResult

from .errors import InvalidArgumentError
from .loadtarget import Answered

# Calls under way on one connection. Servers commonly allow 100, and count one for a moment longer than its answer takes
# to us: with as many, some were refused (REFUSED_STREAM), which clients of grpcio send again unseen.
STREAMS = 64
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _AWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_WINDOW_BYTES = 2**31 - 1
_FRAME_BYTES = 16_384  # the longest frame that every server takes
# The status that REST has in the same place (serve/grpc_methods.py); any other one is a 500.
_REST = {0: 200, 1: 499, 3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 12: 501, 14: 503, 16: 401}


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _setting(number: int, value: int) -> bytes:
    return number.to_bytes(2, "big") + value.to_bytes(4, "big")


# No table of headers and no push from the server; what it sends never has to wait for us.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(
    _SETTINGS, 0, 0, _setting(1, 0) + _setting(2, 0) + _setting(4, _WINDOW_BYTES)
)


def _opened(more: int) -> bytes:
    """The server may send so many bytes more on the whole connection."""
    return _frame(_WINDOW, 0, 0, more.to_bytes(4, "big"))


def _string(text: str) -> bytes:
    """A string of HPACK, plain."""
    data = text.encode("ascii")
    if len(data) < 127:
        return bytes((len(data),)) + data
    rest, length = len(data) - 127, b"\x7f"
    while rest >= 128:
        length += bytes((rest % 128 + 128,))
        rest //= 128
    return length + bytes((rest,)) + data


def _request_headers(parts: SplitResult, key: str | None) -> bytes:
    """:method POST and :scheme http by their places in the static table, the others as literals."""
    named = {"te": "trailers", "content-type": "application/grpc"}
    if key is not None:
        named["authorization"] = f"Bearer {key}"
    found = b"\x83\x86" + b"\x04" + _string(parts.path) + b"\x01" + _string(parts.netloc)
    return found + b"".join(b"\x00" + _string(name) + _string(value) for name, value in named.items())


def _status(headers: bytes) -> int:
    """What the last headers of a call say, as REST says it."""
    at = headers.find(b"grpc-status")
    if at < 0 or at + 12 >= len(headers):
        return 500
    length = headers[at + 11]
    digits = headers[at + 12 : at + 12 + length]
    return _REST.get(int(digits), 500) if digits.isdigit() else 500


class GrpcConnection(asyncio.Protocol):
    """One HTTP/2 connection with up to STREAMS calls under way."""

    def __init__(self, headers: bytes) -> None:
        self.alive = True
        self.answering: dict[int, Answered] = {}
        self._headers = headers
        self._stream = 1
        self._buffer = b""
        self._received = 0
        self._window = 65_535  # bytes of messages that the server takes now
        self._waiting: deque[tuple[int, bytes]] = deque()

    @property
    def free(self) -> bool:
        return self.alive and len(self.answering) < STREAMS

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._transport.write(_PREFACE + _opened(_WINDOW_BYTES - 65_535))

    def connection_lost(self, exc: Exception | None) -> None:
        self.alive = False
        answering, self.answering = self.answering, {}
        for answered in answering.values():
            answered(0)

    def send(self, message: bytes, answered: Answered) -> None:
        stream = self._stream
        self._stream += 2
        self.answering[stream] = answered
        begin = _frame(_HEADERS, _END_HEADERS, stream, self._headers)
        if self._waiting or len(message) > self._window:
            self._transport.write(begin)
            self._waiting.append((stream, message))
            return
        self._transport.write(begin + self._message(stream, message))

    def _message(self, stream: int, message: bytes) -> bytes:
        self._window -= len(message)
        starts = range(0, len(message), _FRAME_BYTES)
        last = starts[-1]
        return b"".join(
            _frame(_DATA, _END_STREAM if at == last else 0, stream, message[at : at + _FRAME_BYTES])
            for at in starts
        )

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        at = 0
        while len(data) - at >= 9:
            length = int.from_bytes(data[at : at + 3], "big")
            if len(data) - at - 9 < length:
                break
            stream = int.from_bytes(data[at + 5 : at + 9], "big") & 0x7FFFFFFF
            self._frame_received(data[at + 3], data[at + 4], stream, data[at + 9 : at + 9 + length])
            at += 9 + length
        self._buffer = data[at:]

    def _frame_received(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._received += len(payload)
            if self._received >= 1 << 30:
                self._transport.write(_opened(self._received))
                self._received = 0
        elif kind == _HEADERS:
            if flags & _END_STREAM:
                self._tell(stream, _status(payload))
        elif kind == _RESET:
            self._tell(stream, 0)
        elif kind == _SETTINGS:
            if not flags & _ACK:
                self._transport.write(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING:
            if not flags & _ACK:
                self._transport.write(_frame(_PING, _ACK, 0, payload))
        elif kind == _AWAY:
            self.alive = False  # what is under way is still answered
        elif kind == _WINDOW and stream == 0:
            self._window += int.from_bytes(payload, "big") & 0x7FFFFFFF
            while self._waiting and len(self._waiting[0][1]) <= self._window:
                self._transport.write(self._message(*self._waiting.popleft()))

    def _tell(self, stream: int, status: int) -> None:
        answered = self.answering.pop(stream, None)
        if answered is not None:
            answered(status)

    def abandon(self) -> None:
        """Ends it untold: who asked has stopped counting."""
        self.answering = {}
        self._transport.abort()


class GrpcTarget:
    """As loadtarget.Target: where to call, and the messages to send in turn. Belongs to the running event loop."""

    def __init__(self, parts: SplitResult, bodies: Sequence[bytes], key: str | None = None) -> None:
        if max(map(len, bodies)) > 65_530:  # what a server takes of one call before it asks for more
            raise InvalidArgumentError(
                "a body is longer than 65,530 bytes: over gRPC the load is of small messages"
            )
        self._host, self._port = parts.hostname or "", parts.port or 0
        self._headers = _request_headers(parts, key)
        self._messages = [b"\x00" + len(body).to_bytes(4, "big") + body for body in bodies]
        self._next = 0
        self._connections: list[GrpcConnection] = []
        self._held: deque[tuple[bytes, Answered]] = deque()  # until there is a connection for them
        self._connecting: asyncio.Task[None] | None = None

    def send(self, answered: Answered) -> None:
        """Calls on a connection with a stream left, or on a new one; `answered` is called once."""
        message = self._messages[self._next % len(self._messages)]
        self._next += 1
        for connection in self._connections:
            if connection.free:
                connection.send(message, answered)
                return
        self._held.append((message, answered))
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._held:
                _, connection = await loop.create_connection(
                    lambda: GrpcConnection(self._headers), self._host, self._port
                )
                # Whoever has not ended yet keeps its connection; the others are forgotten.
                self._connections = [each for each in self._connections if each.alive or each.answering]
                self._connections.append(connection)
                while self._held and connection.free:
                    connection.send(*self._held.popleft())
        except OSError:
            while self._held:
                self._held.popleft()[1](0)
        finally:
            self._connecting = None

    def close(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        for connection in self._connections:
            connection.abandon()
