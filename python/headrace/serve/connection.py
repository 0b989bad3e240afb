"""The connections of `headrace serve`: uvicorn's, with a short way for plain requests to the busiest routes.

The event loop shares the cores with the model, so each microsecond here is one the model lacks, and under overload
refusing must stay cheaper than serving. A request of the plain shape (cpp/http/plain_post.h) is therefore answered by
callbacks, with no task, no ASGI scope and one write. Everything else takes uvicorn's way with the very same bytes, so
odd cases have one place. What both do with a body is one piece of code: embeddings.py,
predict.py and inference_call.py.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .._core import plain_post
from ..completions import completions_of_running_loop
from ..errors import CancelledError
from ..security.certificates import names_of
from ..usage import current_usage
from .access import Call, is_basic
from .answer import CLOSE, Answer
from .embeddings import ROUTE, EmbeddingsCall
from .errors import HttpError, error_response
from .guard import CERTIFICATE
from .inference import INFER_ROUTES
from .inference_call import InferCall
from .masking import at_once
from .predict import PREDICT_ROUTE, PredictCall
from .service import STOPPED, Service, request_id

if TYPE_CHECKING:
    from ..completions import Waitable

HEAD_SECONDS = 10.0  # in which a request's head must be complete, and a new connection's first one
BODY_SECONDS = 30.0  # that a body may stand still
_SLOWEST_BODY = 1024.0  # bytes a second, over the whole of it
_READER_SECONDS = 60.0  # that a client may read nothing of its answer
# Makes a call of the service and a body.
Make: TypeAlias = Callable[[Service, bytes], Coroutine[Any, Any, Any]]
# What plain_post gives: the body's begin and end, host, x-request-id, authorization, the length of its JSON.
_Place: TypeAlias = "tuple[int, int, str, str | None, str | None, str | None]"
# (route, what its bodies make, the longest that is read on the event loop, in about a millisecond)
_ROUTES: tuple[tuple[str, Make, int], ...] = (
    (ROUTE, EmbeddingsCall.of, 32_768),
    (PREDICT_ROUTE, PredictCall.of, 131_072),
)
_BY_START = {f"POST {route} ".encode(): (route, route.encode(), call, size) for route, call, size in _ROUTES}
# Names that are written otherwise in a path (%20) are left to the router.
_INFER = re.compile(rb"POST (/v2/models/([A-Za-z0-9._-]{1,256})(?:/versions/([0-9]{1,9}))?/infer) ")
_INFER_SIZE = 131_072


class _Request:
    """Who asks, where, and since when."""

    __slots__ = ("admitted", "identity", "route", "start")

    def __init__(self, route: str, admitted: Call | None, given_id: str | None, start: float) -> None:
        self.route = route
        self.admitted = admitted
        self.identity = request_id(given_id) if admitted is None else admitted.identity
        self.start = start if admitted is None else admitted.start


class _Exchange:
    """A request under way: whose, what is asked, and its ticket."""

    __slots__ = ("call", "request", "ticket")

    def __init__(self, request: _Request, call: Any, ticket: Waitable) -> None:
        self.request = request
        self.call = call
        self.ticket = ticket


class Connection(HttpToolsProtocol):
    """One client. Requests are answered in their order, whichever way each takes."""

    def __init__(self, service: Service, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._service = service
        self._completions = completions_of_running_loop()
        access = service.access
        # What must wait for a record or a second tier, and a request whose trace is wanted, take uvicorn's way.
        is_long = access is not None and (
            access.tracer is not None or access.is_strict or access.second_tier is not None
        )
        self._short_way = not self.access_log and not is_long
        self._exchange: _Exchange | None = None
        self._admitted: Call | None = None  # whose body is still on its way
        # The next of several requests that came together is due in the loop's next turn.
        self._resuming = False
        # What came behind a request under way, or a plain one that will have `_needed` bytes.
        self._held = bytearray()
        self._needed = 0
        self._in_message = False  # uvicorn's parser has seen a part of a request
        self._in_head = True  # and not yet all of its head; so is a connection that has not sent anything
        self._message_since = self._heard_at = self.loop.time()
        self._heard_bytes = 0
        self._unread = (
            0,
            0.0,
        )  # bytes of an answer that the client has not taken, and since when they are so many
        self._idle_since = 0.0
        self._certificate: tuple[str, ...] = ()  # the names of the client's own

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._certificate = names_of(transport.get_extra_info("peercert"))

    def data_received(self, data: bytes) -> None:
        self._heard_at = self.loop.time()
        self._heard_bytes += len(data)
        if self._exchange is not None or self._resuming:
            self._held += data
            if len(self._held) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            return
        if self._held:
            self._held += data
            if len(self._held) < self._needed:
                return
            data = bytes(self._held)
            self._held.clear()
        found = self._plain(data)
        if found is None:
            self._withdraw_admitted()
            super().data_received(data)
            return
        route, make, (body, end, host, given_id, authorization, _) = found
        start = time.perf_counter()
        access, admitted = self._service.access, self._admitted
        if access is not None and admitted is None:
            identity = request_id(given_id)
            try:
                admitted = access.admit(host, authorization, identity, end - body, self._certificate)
            except HttpError as error:
                if end > len(data):  # what comes is not wanted
                    super().data_received(data)
                    return
                self._held += data[end:]
                access.refuse(error.status, "http")
                response = error_response(error, identity, self._service.error_body_of(route))
                self._write(response, identity, start, "refused")
                return
        if end > len(data):
            self._held += data
            self._needed = end
            self._admitted = admitted
            self._expect_body()
            return
        self._admitted = None
        self._in_head = False
        self._begin(data, body, end, make, _Request(route, admitted, given_id, start))

    def _plain(self, data: bytes) -> tuple[str, Make, _Place] | None:
        """Route, call and place of a plain request at the start of `data`, if one may go the short way now."""
        uvicorns = self._in_message or (self.cycle is not None and not self.cycle.response_complete)
        # A client that does not read its answers gets no more of them; uvicorn's way waits for it.
        if uvicorns or self._service.draining or self.flow.write_paused or not self._short_way:
            return None
        known = next((known for start, known in _BY_START.items() if data.startswith(start)), None)
        most = self._service.max_body_bytes
        if known is not None:
            route, target, make, size = known
            place = plain_post(data, target, min(size, most))
        else:
            asked = _INFER.match(data)
            if asked is None:
                return None
            place = plain_post(data, asked[1], min(_INFER_SIZE, most), any_body=True)
            if place is not None:
                version = asked[3] or b""
                route = INFER_ROUTES[bool(version)]
                make = partial(
                    InferCall.of, name=asked[2].decode(), version=version.decode(), json_length=place[5]
                )
        # Whether Basic is taken depends on headers that the short way does not read.
        return None if place is None or is_basic(place[4]) else (route, make, place)

    def _begin(self, data: bytes, body: int, end: int, make: Make, request: _Request) -> None:
        ticket: Any = None
        token = current_usage.set(request.admitted)
        try:
            call = at_once(make(self._service, data[body:end]))
            if call.is_loaded and call.writes_inline:
                ticket = call.submit(self._completions.queue)
            error: BaseException | None = ticket.error if ticket is not None else None
        except Exception as raised:
            error = raised
        finally:
            current_usage.reset(token)
        if error is not None:
            self._held += data[end:]
            self._conclude(request, self._error(error, request))
        elif ticket is not None:
            self._held += data[end:]
            self._exchange = _Exchange(request, call, ticket)
            self._completions.when_done(ticket, self._finish)
        else:
            self._admitted = request.admitted
            self._withdraw_admitted()
            super().data_received(data)

    def _withdraw_admitted(self) -> None:
        """Takes the short way's admission back: uvicorn's way has its own."""
        admitted, self._admitted = self._admitted, None
        if admitted is not None:
            admitted.withdraw()

    def _finish(self) -> None:
        """The work is done, well or not."""
        exchange = self._exchange
        assert exchange is not None
        self._exchange = None
        request = exchange.request
        try:
            response = exchange.call.written(exchange.call.result_of(exchange.ticket))
        except Exception as error:
            response = self._error(error, request)
        if request.admitted is not None:
            request.admitted.add(exchange.call.cost(exchange.ticket))
        self._conclude(request, response)

    def _error(self, error: BaseException, request: _Request) -> Answer:
        """As the route's protocol has it."""
        return error_response(error, request.identity, self._service.error_body_of(request.route))

    def _conclude(self, request: _Request, response: Answer) -> None:
        self._record(request, response)
        self._write(response, request.identity, request.start, request.route)

    def _record(self, request: _Request, response: Answer) -> None:
        access, admitted = self._service.access, request.admitted
        if access is not None and admitted is not None:
            admitted.route = request.route
            response.raw_headers += access.limit_headers(admitted)
            access.finish(admitted, response.status_code)

    def _write(self, response: Answer, identity: str, start: float, route: str) -> None:
        self._service.conclude(route, response, identity, start)
        if self.transport.is_closing():
            return
        self.transport.write(response.encoded(self.server_state.default_headers))
        self.server_state.total_requests += 1
        if CLOSE in response.raw_headers:
            self.transport.close()
            return
        if len(self._held) <= HIGH_WATER_LIMIT:
            self.flow.resume_reading()
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        if self._held:
            self._resuming = True
            self.loop.call_soon(self._resume)

    def _resume(self) -> None:
        self._resuming = False
        data = bytes(self._held)
        self._held.clear()
        if not self.transport.is_closing():
            self.data_received(data)

    def _withdraw(self) -> _Exchange | None:
        """Ends the work under way, if there is any; it is then nobody's."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self._completions.forget(exchange.ticket)
            exchange.call.cancel(exchange.ticket)
        return exchange

    def connection_lost(self, exc: Exception | None) -> None:
        exchange = self._withdraw()
        self._withdraw_admitted()
        if exchange is not None:
            request = exchange.request
            gone = self._error(CancelledError("the client left before its answer was ready"), request)
            self._record(request, gone)
            self._service.conclude(request.route, gone, request.identity, request.start)
        super().connection_lost(exc)

    def give_up(self) -> None:
        """The drain's time limit passed: says so instead of an answer."""
        exchange = self._withdraw()
        if exchange is not None:
            self._conclude(exchange.request, self._error(STOPPED, exchange.request))

    def shutdown(self) -> None:
        # Answers of a server that drains close their connections, so what is under way needs nothing here.
        if self._exchange is None and not self._held:
            super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        # One timer for many requests: setting it anew for each costs more than looking at the clock once it is due.
        self.timeout_keep_alive_task = None
        if self._exchange is not None or self._held:
            return
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left <= 0:
            super().timeout_keep_alive_handler()
        else:
            self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)

    def _expect_body(self) -> None:
        """A head is complete."""
        self._in_head = False
        self._message_since = self.loop.time()
        self._heard_bytes = 0

    def close_if_stalled(self, now: float) -> None:
        """Called about once a second: ends the connection of a client that keeps the server waiting."""
        if self.transport.is_closing():
            return
        unread = self.transport.get_write_buffer_size()
        if unread == 0 or unread != self._unread[0]:
            self._unread = unread, now
        elif now - self._unread[1] > _READER_SECONDS:
            self.transport.abort()
            return
        if self._exchange is not None or self._resuming:
            return
        waited = now - self._message_since
        if self._in_head:
            if waited > HEAD_SECONDS:
                self.transport.close()
        elif self._in_message or self._held:
            allowed = BODY_SECONDS + self._heard_bytes / _SLOWEST_BODY
            if now - self._heard_at > BODY_SECONDS or waited > allowed:
                self.transport.close()

    def on_message_begin(self) -> None:
        self._in_message = self._in_head = True
        self._message_since = self.loop.time()
        super().on_message_begin()
        if self._certificate:
            scope: Any = self.scope
            scope[CERTIFICATE] = self._certificate

    def on_headers_complete(self) -> None:
        self._expect_body()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_message = False
        super().on_message_complete()
