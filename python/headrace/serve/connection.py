"""The connections of `headrace serve`: uvicorn's, with a short way for plain requests to the busiest route.

The event loop shares the cores with the model, so each microsecond here is one the model lacks, and under overload
refusing must stay cheaper than serving. A request of the plain shape (cpp/http/plain_post.h) is therefore answered by
callbacks, with no task, no ASGI scope and one write. Everything else takes uvicorn's way with the very same bytes, so
odd cases have one place. What both do with a body is one piece of code, embeddings.py.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .._core import plain_post
from ..completions import completions_of_running_loop
from ..errors import CancelledError
from .answer import CLOSE, Answer
from .embeddings import ROUTE, EmbeddingsCall
from .errors import error_response
from .service import STOPPED, Service, request_id

if TYPE_CHECKING:
    from .._core import Ticket

_TARGET = ROUTE.encode()
# A body so short is tokenised in about a millisecond, on the event loop.
_MAX_BODY_BYTES = 32_768


class _Exchange:
    """A request under way: what is asked, and by whom."""

    __slots__ = ("call", "identity", "start", "ticket")

    def __init__(self, call: EmbeddingsCall, ticket: Ticket, identity: str, start: float) -> None:
        self.call = call
        self.ticket = ticket
        self.identity = identity
        self.start = start


class Connection(HttpToolsProtocol):
    """One client. Requests are answered in their order, whichever way each takes."""

    def __init__(self, service: Service, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._service = service
        self._completions = completions_of_running_loop()
        self._short_way = not self.access_log
        self._max_body = min(_MAX_BODY_BYTES, service.max_body_bytes)
        self._exchange: _Exchange | None = None
        # The next of several requests that came together is due in the loop's next turn.
        self._resuming = False
        # What came behind a request under way, or a plain one that will have `_needed` bytes.
        self._held = bytearray()
        self._needed = 0
        self._in_message = False  # uvicorn's parser has seen a part of a request
        self._idle_since = 0.0

    def data_received(self, data: bytes) -> None:
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
        place = self._plain(data)
        if place is None:
            super().data_received(data)
            return
        body, end, given_id = place
        if end > len(data):
            self._held += data
            self._needed = end
            return
        self._begin(data, body, end, given_id)

    def _plain(self, data: bytes) -> tuple[int, int, str | None] | None:
        """The place of a plain request at the start of `data`, if one may go the short way now."""
        uvicorns = self._in_message or (self.cycle is not None and not self.cycle.response_complete)
        # A client that does not read its answers gets no more of them; uvicorn's way waits for it.
        if uvicorns or self._service.draining or self.flow.write_paused or not self._short_way:
            return None
        return plain_post(data, _TARGET, self._max_body)

    def _begin(self, data: bytes, body: int, end: int, given_id: str | None) -> None:
        start = time.perf_counter()
        identity = request_id(given_id)
        ticket: Ticket | None = None
        try:
            call = EmbeddingsCall(self._service, data[body:end])
            if call.writes_inline:
                ticket = call.submit(self._completions.queue)
            error: BaseException | None = ticket.error if ticket is not None else None
        except Exception as raised:
            error = raised
        if error is not None:
            self._held += data[end:]
            self._write(error_response(error, identity), identity, start)
        elif ticket is not None:
            self._held += data[end:]
            self._exchange = _Exchange(call, ticket, identity, start)
            self._completions.when_done(ticket, self._finish)
        else:
            super().data_received(data)

    def _finish(self) -> None:
        """The work is done, well or not."""
        exchange = self._exchange
        assert exchange is not None
        self._exchange = None
        try:
            response = Answer(exchange.call.body(exchange.call.result_of(exchange.ticket)))
        except Exception as error:
            response = error_response(error, exchange.identity)
        self._write(response, exchange.identity, exchange.start)

    def _write(self, response: Answer, identity: str, start: float) -> None:
        self._service.conclude(ROUTE, response, identity, start)
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
        if exchange is not None:
            gone = error_response(
                CancelledError("the client left before its answer was ready"), exchange.identity
            )
            self._service.conclude(ROUTE, gone, exchange.identity, exchange.start)
        super().connection_lost(exc)

    def give_up(self) -> None:
        """The drain's time limit passed: says so instead of an answer."""
        exchange = self._withdraw()
        if exchange is not None:
            self._write(error_response(STOPPED, exchange.identity), exchange.identity, exchange.start)

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

    def on_message_begin(self) -> None:
        self._in_message = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._in_message = False
        super().on_message_complete()
