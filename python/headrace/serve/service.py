"""What every route needs: the engine, the state of the service, and one wrapper that times and answers."""

from __future__ import annotations

import asyncio
import functools
import os
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from ..engine import Engine
from ..errors import CancelledError
from ..observe import HttpMetrics
from ..time_limit import time_limit
from .access import Access, current_call
from .answer import CLOSE
from .errors import ErrorBody, HttpError, error_response, invalid, openai_body

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from ..loaded_model import ModelInfo

DEFAULT_MAX_BODY_BYTES = 10_000_000
TIMEOUT_HEADER = "x-request-timeout-ms"
MAX_TIMEOUT_MS = 3_600_000
_IDENTITY = "headrace.request_id"  # in the scope of a request that an endpoint serves
_ids = random.Random()  # unique is enough: nobody is trusted for an id
os.register_at_fork(after_in_child=_ids.seed)
_STARTED = int(time.time())
_REQUEST_ID = re.compile(r"[!-~]{1,128}")

# What is for those who look after the server: where it has an admin port, these answer there only.
_OPERATORS_ROUTES = frozenset({"/metrics", "/v1/status", "GET /"})
_OPERATORS_PREFIXES = ("/v1/admin/", "/v2/repository/models/", "/console/")

STOPPED = HttpError(503, "the server stopped before this was answered: send it again", code="draining")

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


class Listed(NamedTuple):
    """A model that is served; `info` is None while it was never in memory."""

    name: str
    is_loaded: bool
    info: ModelInfo | None

    @property
    def created(self) -> int:
        return _STARTED if self.info is None else self.info.created


class Service:
    """An engine and its state as seen from HTTP.

    `loading` names the models that are not there yet and `draining` says that the end has begun; while either
    holds, /readyz answers 503. `failed` names the models that could not be loaded. Everything here belongs to the event
    loop's thread.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        max_body_bytes: int = DEFAULT_MAX_BODY_BYTES,
        access: Access | None = None,
    ) -> None:
        self.engine = engine
        self.max_body_bytes = max_body_bytes
        self.access = access
        if access is not None and access.second_tier is not None:
            access.second_tier.serve(self)
        self.metrics = HttpMetrics()
        self.loading: set[str] = set()
        self.failed: set[str] = set()
        self.sources: dict[str, str] = {}  # where the models are that may be loaded, by name
        self.folders: list[str] = []  # and folders that hold more of them
        self.precision = "auto"
        self._error_bodies: dict[str, ErrorBody] = {}
        self.draining = False
        self.grpc_port: int | None = None  # once it listens
        self.admin_port: int | None = None  # where operators' routes answer, if not everywhere
        self.registry: CollectorRegistry | None = None  # made by the first /metrics

    def models(self) -> list[ModelInfo]:
        """The models that the request under way may see."""
        call = current_call()
        models = self.engine.models()
        return models if call is None else [info for info in models if call.principal.may_see(info.name)]

    def listed(self) -> list[Listed]:
        """The same, with those of which nothing is known because they were never in memory."""
        call = current_call()
        loaded = {info.name: info for info in self.engine.models()}
        rows = [Listed(each.name, each.state == "ready", each.info) for each in self.engine.residences()]
        there = {row.name for row in rows}
        rows += [Listed(name, True, info) for name, info in loaded.items() if name not in there]  # adapters
        rows += [Listed(name, True, pipeline.info) for name, pipeline in self.engine.pipelines.items()]
        return [row for row in rows if call is None or call.principal.may_see(row.name)]

    def knows(self, name: str) -> bool:
        """Whether the operator gave something that name: what is served, or was to be."""
        return name in self.loading or name in self.failed or name in self.sources or self.engine.serves(name)

    def visible(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that the request under way may see, sorted."""
        call = current_call()
        return sorted(name for name in names if call is None or call.principal.may_see(name))

    def check_ready(self) -> None:
        """HttpError 503 while requests are not welcome."""
        if self.draining:
            raise HttpError(503, "draining: this server is about to stop", code="draining")
        if self.loading:
            raise HttpError(503, f"loading: {', '.join(sorted(self.loading))}", code="loading")

    def endpoint(self, route: str, error_body: ErrorBody = openai_body) -> Callable[[Endpoint], Endpoint]:
        """Makes a function an endpoint that always answers, is counted as `route` and names its request.

        error_body: how errors are written where the route's protocol is not OpenAI's.
        """

        self._error_bodies[route] = error_body
        is_operators = route in _OPERATORS_ROUTES or route.startswith(_OPERATORS_PREFIXES)

        def wrap(function: Endpoint) -> Endpoint:
            @functools.wraps(function)
            async def answer(request: Request) -> Response:
                start = time.perf_counter()
                call = current_call()
                if call is None:
                    identity = request_id(request.headers.get("x-request-id"))
                else:
                    identity, call.route = call.identity, route
                request.scope[_IDENTITY] = identity
                try:
                    if is_operators:
                        self._check_port(request)
                    with _limited(request):
                        response = await function(request)
                except Exception as error:
                    response = error_response(error, identity, error_body)
                except asyncio.CancelledError:
                    if not self.draining:
                        raise
                    response = error_response(STOPPED, identity, error_body)  # the drain's time limit passed
                self.conclude(route, response, identity, start)
                return response

            return answer

        return wrap

    def _check_port(self, request: Request) -> None:
        """HttpError 404 for an operators' route that is asked for on another port than theirs."""
        server = request.scope.get("server")
        if self.admin_port is not None and (server is None or server[1] != self.admin_port):
            path = request.scope["path"][:200]
            raise HttpError(
                404, f"there is no {path!r} here: see /docs for what there is", code="no_such_route"
            )

    def error_body_of(self, path: str) -> ErrorBody:
        """How errors are written where a path leads, whether there is anything or not."""
        protocol = "/v2" if path.startswith("/v2/") else path
        return self._error_bodies.get(protocol, openai_body)

    def finish(self, response: Response, identity: str) -> None:
        """The headers of every answer."""
        response.raw_headers.append((b"x-request-id", identity.encode()))
        if self.draining:
            response.raw_headers.append(CLOSE)

    def conclude(self, route: str, response: Response, identity: str, start: float) -> None:
        """What every answer goes through: its headers, and its place in the metrics."""
        self.finish(response, identity)
        self.metrics.observe(route, response.status_code, time.perf_counter() - start)


def identity_of(request: Request) -> str:
    """The id of a request that an endpoint serves: that of its answer's header, and of the log."""
    found: str = request.scope[_IDENTITY]
    return found


def _limited(request: Request) -> AbstractContextManager[None]:
    """Within it, work has the time that the request's client waits. HttpError 400 where that is no number."""
    given = request.headers.get(TIMEOUT_HEADER)
    if given is None:
        return nullcontext()
    if not (given.isascii() and given.isdigit() and len(given) < 10 and 0 < int(given) <= MAX_TIMEOUT_MS):
        shown = given[:100]
        raise invalid(f"{TIMEOUT_HEADER}={shown!r}: must be milliseconds between 1 and {MAX_TIMEOUT_MS}")
    return time_limit(int(given) / 1000)


def request_id(given: str | None) -> str:
    """The client's own x-request-id when it is short and printable, else a new one."""
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given
    return f"{_ids.getrandbits(96):024x}"


class DisconnectWatch:
    """Cancels the current task when its client goes away, and tells so by a CancelledError of ours.

        with DisconnectWatch(request):
            result = await work()          # cancelled, and with it the work in the core

    Most answers are ready sooner than a client can change its mind, so the watch costs one timer until
    `DELAY` has passed; only then does a task wait for the message that ASGI sends.
    """

    DELAY = 0.1

    def __init__(self, request: Request) -> None:
        self._receive = request.receive
        self._gone = False
        self._watcher: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(self.DELAY, self._start)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        task = self._task
        # The timer, the tasks and this object refer to each other; unbound, they go without the garbage collector,
        # whose rounds stop the event loop.
        del self._timer, self._watcher, self._task, self._receive
        if self._gone and kind is asyncio.CancelledError:
            if hasattr(task, "uncancel"):  # since Python 3.11
                task.uncancel()
            raise CancelledError("the client left before its answer was ready") from None

    def _start(self) -> None:
        self._watcher = self._loop.create_task(self._watch())

    async def _watch(self) -> None:
        receive = self._receive
        while (await receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._task.cancel()
