"""An answer that is made as bytes: any ASGI server can send it, and our own connections write it as it is."""

from __future__ import annotations

import http
from collections.abc import Iterable

from starlette.responses import Response

JSON = b"application/json"
CLOSE = (b"connection", b"close")
_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus
}
_STATUS_LINES[499] = b"HTTP/1.1 499 \r\n"  # nobody reads it

Header = tuple[bytes, bytes]


class Answer(Response):
    """A body that is there already. Starlette's own constructor costs more than the rest of a refusal."""

    def __init__(
        self, body: bytes, status: int = 200, content_type: bytes = JSON, headers: Iterable[Header] = ()
    ) -> None:
        self.status_code = status
        self.body = body
        self.background = None
        self.raw_headers = [
            *headers,
            (b"content-length", b"%d" % len(body)),
            (b"content-type", content_type),
        ]

    def encoded(self, default_headers: Iterable[Header]) -> bytes:
        """The whole answer as HTTP/1.1 has it. Names and values are ours or checked, so nothing can be forged."""
        lines: list[bytes | memoryview] = [_STATUS_LINES[self.status_code]]
        lines += [b"%b: %b\r\n" % header for header in default_headers]
        lines += [b"%b: %b\r\n" % header for header in self.raw_headers]
        lines += (b"\r\n", self.body)
        return b"".join(lines)
