"""`headrace serve`: loads the models beside the imports, listens, says so in one line, and drains at the end.

On SIGTERM or SIGINT: /readyz turns 503 and answers carry `connection: close`; after `GRACE` seconds, in which
late requests are still served, the socket closes; what is queued is finished; then the process exits with 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType

import uvicorn
from fastapi import FastAPI

from ..engine import Engine
from ..errors import InvalidArgumentError
from ..loading import ModelLoader
from .app import create_app
from .service import DEFAULT_MAX_BODY_BYTES, Service

GRACE = 0.15
_KEEP_ALIVE_SECONDS = 75  # longer than the pools of common clients, so that they close first and lose nothing


@dataclass(frozen=True)
class Options:
    """Where to listen and how; see `headrace serve --help`."""

    host: str = "127.0.0.1"
    port: int = 8000
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
    drain_seconds: int = 30
    log_level: str = "warning"
    access_log: bool = False


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; InvalidArgumentError when the address cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidArgumentError(
            f"cannot listen on {host}:{port}: {reason}; choose another --port"
        ) from None
    return found


class Server(uvicorn.Server):
    """uvicorn, with an end that loses no request and exits with 0."""

    def __init__(self, config: uvicorn.Config, service: Service, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._service = service
        self._on_start = on_start

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would raise the signal again at the end, and so exit with 143 after a clean drain.
        previous = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._service.draining = True
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if not self.force_exit:
            await asyncio.sleep(GRACE)
        await super().shutdown(sockets)


def run(
    engine: Engine, loader: ModelLoader, options: Options, on_ready: Callable[[str, FastAPI], None]
) -> None:
    """Serves until a signal; calls `on_ready(url, app)` once the models are loaded and the socket listens.

    Raises what loading a model raised. The engine is closed at the end, whatever happened.
    """
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=options.log_level.upper()
    )
    try:
        with contextlib.closing(listen(options.host, options.port)) as bound:
            _serve(
                create_app(engine, max_body_bytes=options.max_body_bytes), bound, loader, options, on_ready
            )
    finally:
        loader.join()
        engine.close(drain=loader.error is None)
    if loader.error is not None:
        raise loader.error


def _serve(
    app: FastAPI,
    bound: socket.socket,
    loader: ModelLoader,
    options: Options,
    on_ready: Callable[[str, FastAPI], None],
) -> None:
    service: Service = app.state.headrace
    service.loading = loader.waiting
    config = uvicorn.Config(
        app,
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level=options.log_level,
        access_log=options.access_log,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=options.drain_seconds,
    )
    host = f"[{options.host}]" if ":" in options.host else options.host
    url = f"http://{host}:{bound.getsockname()[1]}"
    tasks = []

    async def announce() -> None:
        await asyncio.to_thread(loader.join)
        if loader.error is not None:
            server.should_exit = server.force_exit = True
        elif not server.should_exit:
            on_ready(url, app)

    server = Server(config, service, lambda: tasks.append(asyncio.create_task(announce())))
    server.run(sockets=[bound])
