"""The front of the application, as pure ASGI: nothing behind it runs for a request that was not admitted."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..usage import current_usage
from .access import (
    BASIC_CHALLENGE,
    OPEN_PATHS,
    Access,
    Call,
    bearer_of_basic,
    is_basic,
    unaudited,
)
from .errors import HttpError, error_response
from .service import Service, request_id

# Where `headrace serve` puts the names of a client's verified certificate.
CERTIFICATE = "headrace.certificate"
_UNREAD_LIMIT = 65_536  # of a refused request whose connection is worth keeping


class Guard:
    """Admits requests by `access`, and records them when their answers have left.

    Everything is refused without a valid key but what tells whether the server lives; before the body is read.
    """

    def __init__(self, app: ASGIApp, service: Service, access: Access) -> None:
        self._app = app
        self._service = service
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError("only HTTP is served here")
        if scope["path"] in OPEN_PATHS and scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        host, authorization, given_id, traceparent, length = _headers(scope)
        identity = request_id(given_id)
        try:
            if authorization is not None and self._access.asks and is_basic(authorization):
                authorization = bearer_of_basic(authorization, _header(scope, b"sec-fetch-site"))
            call = self._access.admit(host, authorization, identity, length or 0, scope.get(CERTIFICATE, ()))
        except HttpError as error:
            await self._refuse(error, identity, length, scope, receive, send)
            return
        call.traceparent = traceparent
        answer = _Recorded(self._access, call, send)
        token = current_usage.set(call)
        try:
            await self._app(scope, receive, answer)
        finally:
            current_usage.reset(token)
            answer.end()

    async def _refuse(
        self, error: HttpError, identity: str, length: int | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if length is None or length > _UNREAD_LIMIT:
            error.headers["connection"] = "close"  # what comes is not wanted
        response = error_response(error, identity, self._service.error_body_of(scope["path"]))
        if error.status == 401 and "text/html" in (_header(scope, b"accept") or ""):
            response.raw_headers.append(BASIC_CHALLENGE)  # beside Bearer: the browser asks for the key
        self._service.finish(response, identity)
        self._service.metrics.observe("refused", response.status_code, 0.0)
        self._access.refuse(response.status_code, "http")
        await response(scope, receive, send)


def _headers(scope: Scope) -> tuple[str, str | None, str | None, str | None, int | None]:
    """Host, authorization, x-request-id, traceparent and the body's length: of several the last, None if not told."""
    host, authorization, identity, traceparent, length = "", None, None, None, None
    has_body = False
    for name, value in scope["headers"]:
        if name == b"host":
            host = value.decode("latin-1")
        elif name == b"authorization":
            authorization = value.decode("latin-1")
        elif name == b"x-request-id":
            identity = value.decode("latin-1")
        elif name == b"traceparent":
            traceparent = value.decode("latin-1")
        elif name == b"content-length":
            length = int(value) if value.isdigit() and len(value) < 16 else None
            has_body = True
        elif name == b"transfer-encoding":
            has_body = True
    return host, authorization, identity, traceparent, length if has_body else 0


def _header(scope: Scope, wanted: bytes) -> str | None:
    """A header that few requests have; of several the last."""
    found = None
    for name, value in scope["headers"]:
        if name == wanted:
            found = value.decode("latin-1")
    return found


class _Recorded:
    """`send` of a request that was admitted. Where nothing may be served unaudited, its event is durable before the
    last bytes of the answer leave, and before the first of one that is streamed."""

    def __init__(self, access: Access, call: Call, send: Send) -> None:
        self._access = access
        self._call = call
        self._send = send
        self._status = 499  # unless an answer begins
        self._start: Message | None = None
        self._is_done = False
        self._waits = access.is_strict

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message["headers"] = [*message["headers"], *self._access.limit_headers(self._call)]
            if self._waits:
                self._start = message
                return
        elif message["type"] == "http.response.body" and self._waits:
            if not message.get("more_body", False):
                if not await self._recorded():
                    await self._send_unaudited()
                    return
            elif self._start is not None and not await self._access.begin_durably(self._call):
                await self._send_unaudited()
                return
            if self._start is not None:
                start, self._start = self._start, None
                await self._send(start)
        await self._send(message)

    async def _recorded(self) -> bool:
        if self._is_done:
            return True
        self._is_done = True
        return await self._access.finish_durably(self._call, self._status)

    async def _send_unaudited(self) -> None:
        if self._start is None:
            raise ConnectionAbortedError(
                "the audit log cannot be written"
            )  # the answer has begun: cut it off
        self._start = None
        response = error_response(unaudited(), self._call.identity)
        headers = response.raw_headers
        await self._send({"type": "http.response.start", "status": 503, "headers": headers})
        await self._send({"type": "http.response.body", "body": response.body})

    def end(self) -> None:
        """The application is done with the request, well or not."""
        if not self._is_done:
            self._is_done = True
            self._access.finish(self._call, self._status)
