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
import os
import signal
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

from .. import _core
from ..engine import Engine
from ..errors import InvalidArgumentError
from ..loading import ModelLoader
from .access import Access
from .app import create_app
from .connection import Connection
from .logs import set_up_logging
from .service import DEFAULT_MAX_BODY_BYTES, Service

if TYPE_CHECKING:
    from .grpc_server import GrpcServer

logger = logging.getLogger("headrace.serve")

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
    log_format: str = "text"
    access_log: bool = False
    grpc_port: int | None = None
    admin_host: str = "127.0.0.1"
    admin_port: int | None = None
    redis: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_client_ca: str | None = None


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


class Certificate:
    """The server's certificate on disk: read anew when it changes, for the connections that come after."""

    def __init__(self, config: uvicorn.Config) -> None:
        assert config.ssl is not None
        self._context = config.ssl
        self._paths = [
            os.fspath(path) for path in (config.ssl_certfile, config.ssl_keyfile) if path is not None
        ]
        self._state = self._seen()

    def _seen(self) -> list[tuple[int, int]] | None:
        try:
            return [(status.st_mtime_ns, status.st_ino) for status in map(os.stat, self._paths)]
        except OSError:  # in the middle of being replaced
            return None

    def reload_if_changed(self) -> None:
        """Keeps the old one where the new one cannot be used, and says so."""
        state = self._seen()
        if state is None or state == self._state:
            return
        self._state = state
        try:
            # In a context of its own first: a key that does not fit must not spoil the one in use.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*self._paths)
            self._context.load_cert_chain(*self._paths)
        except (OSError, ssl.SSLError) as error:
            logger.error("the new TLS certificate is not used, the old one is: %s", error)
        else:
            logger.warning("the TLS certificate was read anew")


class Server(uvicorn.Server):
    """uvicorn, with an end that loses no request and exits with 0."""

    def __init__(
        self,
        config: uvicorn.Config,
        service: Service,
        on_start: Callable[[], None],
        make_grpc: Callable[[], GrpcServer] | None = None,
    ) -> None:
        super().__init__(config)
        self._service = service
        self._on_start = on_start
        self._certificate: Certificate | None = None
        self._make_grpc = make_grpc
        self.grpc: GrpcServer | None = None

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

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:  # once a second
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.close_if_stalled(now)
            if self._certificate is not None:
                self._certificate.reload_if_changed()
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.config.ssl is not None:
            self._certificate = Certificate(self.config)
        if self._make_grpc is not None:
            self.grpc = self._make_grpc()
            await self.grpc.start()
        self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listener in sockets or []:
            refuse_connections(listener)
        ending = None
        if self.grpc is not None:
            ending = asyncio.create_task(self.grpc.stop(float(self.config.timeout_graceful_shutdown or 0)))
        end = time.monotonic() + LINGER
        while self.server_state.connections and time.monotonic() < end and not self.force_exit:
            await asyncio.sleep(0.01)
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.give_up()
        if ending is not None:
            await ending


def run(
    engine: Engine,
    loader: ModelLoader,
    options: Options,
    on_ready: Callable[[str, FastAPI], None],
    access: Access | None = None,
) -> None:
    """Serves until a signal; calls `on_ready(url, app)` once the models are loaded and the socket listens.

    Raises what loading a model raised. The engine is closed at the end, whatever happened.
    """
    set_up_logging(options.log_level, options.log_format)
    try:
        with contextlib.ExitStack() as stack:
            bound = [stack.enter_context(contextlib.closing(listen(options.host, options.port)))]
            app = create_app(engine, max_body_bytes=options.max_body_bytes, access=access)
            if options.admin_port is not None:
                admin = listen(options.admin_host, options.admin_port)
                bound.append(stack.enter_context(contextlib.closing(admin)))
                app.state.headrace.admin_port = admin.getsockname()[1]
            _serve(app, bound, loader, options, on_ready)
    finally:
        loader.join()
        engine.close(drain=loader.error is None)
        if access is not None:
            access.close()
    if loader.error is not None:
        raise loader.error


def _serve(
    app: FastAPI,
    bound: list[socket.socket],
    loader: ModelLoader,
    options: Options,
    on_ready: Callable[[str, FastAPI], None],
) -> None:
    service: Service = app.state.headrace
    service.loading = loader.waiting
    service.failed = loader.failed
    service.sources = loader.sources
    service.folders = loader.folders
    service.precision = loader.precision
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
        ssl_certfile=options.tls_cert,
        ssl_keyfile=options.tls_key,
        ssl_ca_certs=options.tls_client_ca,
        ssl_cert_reqs=ssl.CERT_NONE if options.tls_client_ca is None else ssl.CERT_REQUIRED,
    )
    host = f"[{options.host}]" if ":" in options.host else options.host
    scheme = "http" if options.tls_cert is None else "https"
    url = f"{scheme}://{host}:{bound[0].getsockname()[1]}"
    tasks: list[asyncio.Task[None]] = []
    exchange = None
    if options.redis is not None and service.access is not None:
        from ..security.shared_quotas import Exchange

        exchange = Exchange(service.access.quotas, options.redis)

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
            if server.grpc is not None:
                service.grpc_port = server.grpc.port
                await server.grpc.set_ready(True)
            on_ready(url, app)

    def on_start() -> None:
        tasks.append(asyncio.create_task(announce()))
        if exchange is not None:
            tasks.append(asyncio.create_task(exchange.run()))

    def make_grpc() -> GrpcServer:
        from .grpc_server import GrpcServer

        certificate = None
        if options.tls_cert is not None and options.tls_key is not None:
            certificate = (options.tls_cert, options.tls_key, options.tls_client_ca)
        return GrpcServer(service, f"{host}:{options.grpc_port}", certificate)

    server = Server(config, service, on_start, None if options.grpc_port is None else make_grpc)
    # The engine's threads take every core; this one must still answer, and above all refuse, at once.
    _core.prefer_latency()
    server.run(sockets=bound)
