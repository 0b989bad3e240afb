"""A gRPC server with the Open Inference Protocol, health and reflection, on the event loop of the HTTP server."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from ..security.certificates import names_of_call
from .errors import HttpError
from .grpc_messages import METHODS, POOL, SERVICE, message
from .grpc_methods import (
    OPEN_METHODS,
    STATUS,
    Context,
    Servicer,
    authorization,
    stream_handler,
    unary_handler,
)
from .service import Service

if TYPE_CHECKING:
    from .access import Access

_STREAM = f"/{SERVICE}/ModelStreamInfer"
_ANSWER_BYTES = 256 << 20  # of an answer; a request's limit is that of HTTP's bodies


class _KeysFirst(grpc.aio.ServerInterceptor):
    """Refuses methods that do not admit their calls themselves, such as reflection's, and streams, without a key."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        method: str = details.method
        access = self._service.access
        admits_itself = method.startswith(f"/{SERVICE}/") and method != _STREAM
        if access is None or method in OPEN_METHODS or admits_itself:
            return await continuation(details)
        handler = await continuation(details)
        return _guarded(handler, access, authorization(dict(details.invocation_metadata or ())))


def _guarded(handler: Any, access: Access, key: str | None) -> Any:
    """The handler of a method behind the question who asks. Where there is no such method, that is told to those who
    are known."""

    async def check(context: Context) -> None:
        try:
            access.authenticate(key, names_of_call(context.auth_context()))
        except HttpError as error:
            access.refuse(error.status, "grpc")
            await context.abort(STATUS.get(error.status, grpc.StatusCode.INTERNAL), str(error))

    async def one(given: Any, context: Context) -> Any:
        await check(context)
        if handler is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "there is no such method")
        found = (handler.unary_unary or handler.stream_unary)(given, context)
        return await found if inspect.isawaitable(found) else found

    async def several(given: Any, context: Context) -> Any:
        await check(context)
        found = (handler.unary_stream or handler.stream_stream)(given, context)
        if inspect.isawaitable(found):  # it writes to the context by itself
            await found
            return
        async for answer in found:
            yield answer

    if handler is None:
        return grpc.unary_unary_rpc_method_handler(one)
    kinds = {
        (False, False): (grpc.unary_unary_rpc_method_handler, one),
        (True, False): (grpc.stream_unary_rpc_method_handler, one),
        (False, True): (grpc.unary_stream_rpc_method_handler, several),
        (True, True): (grpc.stream_stream_rpc_method_handler, several),
    }
    make, behaviour = kinds[handler.request_streaming, handler.response_streaming]
    return make(behaviour, handler.request_deserializer, handler.response_serializer)


class GrpcServer:
    """A gRPC server on the running event loop.

    Args:
        certificate: PEM files of the chain and the key, and of the authority whose certificates clients must have.
    """

    def __init__(
        self, service: Service, address: str, certificate: tuple[str, str, str | None] | None = None
    ) -> None:
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            interceptors=[_KeysFirst(service)],
            options=[
                ("grpc.max_receive_message_length", service.max_body_bytes),
                ("grpc.max_send_message_length", _ANSWER_BYTES),
                ("grpc.max_metadata_size", 16_384),
                ("grpc.max_concurrent_streams", 100),
                ("grpc.so_reuseport", 0),
                ("grpc.keepalive_time_ms", 30_000),
                ("grpc.keepalive_timeout_ms", 10_000),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
            ],
        )
        servicer = Servicer(service)
        handlers: dict[str, Any] = {}
        for method in METHODS:
            write = message(method.output_type.name).SerializeToString
            if method.client_streaming:
                handlers[method.name] = grpc.stream_stream_rpc_method_handler(
                    stream_handler(servicer), response_serializer=write
                )
            else:
                handlers[method.name] = grpc.unary_unary_rpc_method_handler(
                    unary_handler(servicer, method.name), response_serializer=write
                )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server, pool=_Pools())
        try:
            if certificate is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, _credentials(*certificate))
        except RuntimeError:
            self.port = 0
        if self.port == 0:
            raise OSError(f"cannot listen for gRPC on {address}: choose another --grpc-port")

    async def start(self) -> None:
        await self._server.start()

    async def set_ready(self, ready: bool) -> None:
        """What health says."""
        status = (
            health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for name in ("", SERVICE):
            await self._health.set(name, status)

    async def stop(self, seconds: float) -> None:
        """Takes no more calls and gives those under way `seconds`."""
        await self.set_ready(False)
        await self._server.stop(seconds)


class _Pools:
    """Our messages where they are known, else those of health and reflection themselves."""

    def __getattr__(self, name: str) -> Any:
        from google.protobuf import descriptor_pool

        ours, common = getattr(POOL, name), getattr(descriptor_pool.Default(), name)

        def find(*arguments: Any) -> Any:
            try:
                return ours(*arguments)
            except KeyError:
                return common(*arguments)

        return find


def _credentials(chain: str, key: str, authority: str | None) -> Any:
    """Read anew for each connection that begins after the files have changed."""

    def read(path: str) -> bytes:
        with open(path, "rb") as file:
            return file.read()

    def configuration() -> Any:
        root = None if authority is None else read(authority)
        return grpc.ssl_server_certificate_configuration([(read(key), read(chain))], root)

    seen = [b""]

    def fetch() -> Any:
        try:
            now = read(chain) + read(key)
            if now == seen[0]:
                return None
            seen[0] = now
            return configuration()
        except OSError:
            return None  # in the middle of being replaced: the old one goes on

    first = configuration()
    return grpc.dynamic_ssl_server_credentials(
        first, fetch, require_client_authentication=authority is not None
    )
