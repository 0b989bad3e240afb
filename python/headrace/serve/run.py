"""`headrace serve`: loads the models beside the imports, listens, says so in one line, and drains at the end.

On SIGTERM or SIGINT: /readyz turns 503 and answers carry `connection: close`; new connections are refused, those
there are get `LINGER` seconds to send what is on its way; what is queued is finished; the process exits with 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import importlib
import logging
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import FrameType

import uvicorn
from fastapi import FastAPI

from .. import _core
from ..engine import Engine
from ..errors import InvalidArgumentError
from ..loading import ModelLoader
from .app import create_app
from .connection import Connection
from .service import DEFAULT_MAX_BODY_BYTES, Service

LINGER = 0.5
# Requests leave next to no cycles behind, so what lives is what waits: thousands of objects under load, which the
# collector's usual round after each 700 new ones would walk again and again.
_COLLECT_AFTER = (50_000, 20, 20)
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


def refuse_connections(listener: socket.socket) -> None:
    """Lets no further connection begin, and loses none that has begun.

    Closing a listening socket resets the connections that wait in its queue, whose clients have often sent
    their request already. So the kernel first drops the packets that would begin one (SYN: a classic BPF
    program on the TCP header); what is queued is then accepted as ever, and the close finds an empty queue.
    """
    program = b"".join(
        struct.pack("HBBI", *instruction)
        for instruction in (
            (0x30, 0, 0, 13),  # load byte 13, the flags
            (0x45, 0, 1, 0x02),  # SYN set?
            (0x06, 0, 0, 0),  # then drop
            (0x06, 0, 0, 0xFFFFFFFF),  # else keep
        )
    )
    memory = ctypes.create_string_buffer(program)
    attach_filter = 26  # SO_ATTACH_FILTER
    with contextlib.suppress(OSError):  # not Linux: the race above stays, and lasts microseconds
        listener.setsockopt(socket.SOL_SOCKET, attach_filter, struct.pack("HP", 4, ctypes.addressof(memory)))


class Server(uvicorn.Server):
    """uvicorn, with an end that loses no request and exits with 0."""

    def __init__(self, config: uvicorn.Config, service: Service, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._service = service
        self._on_start = on_start

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would raise the signal again at the end, and so exit with 143 after a clean drain.
        interrupt = signal.signal(signal.SIGINT, self.handle_exit)
        signal.signal(signal.SIGTERM, self.handle_exit)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, interrupt)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # already ending: a second one must not make it 143

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._service.draining = True
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listener in sockets or []:
            refuse_connections(listener)
        end = time.monotonic() + LINGER
        while self.server_state.connections and time.monotonic() < end and not self.force_exit:
            await asyncio.sleep(0.01)
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.give_up()


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
    service.failed = loader.failed
    config = uvicorn.Config(
        app,
        http=partial(Connection, service),  # type: ignore[arg-type]  # uvicorn only calls it
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
        importlib.import_module("numpy")  # or the first answer would wait for it
        # What is there now stays: the collector need not walk it again. A full collection over the web framework's
        # objects stops the event loop for tens of milliseconds.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_COLLECT_AFTER)
        if loader.error is not None:
            server.should_exit = server.force_exit = True
        elif not server.should_exit:
            on_ready(url, app)

    server = Server(config, service, lambda: tasks.append(asyncio.create_task(announce())))
    # The engine's threads take every core; this one must still answer, and above all refuse, at once.
    _core.prefer_latency()
    server.run(sockets=[bound])
