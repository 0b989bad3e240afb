"""The Open Inference Protocol over gRPC, with health and reflection, on the event loop of the HTTP server.

Everything behind a message is what HTTP has: keys, limits and the record (access.py), models (inference_models.py),
errors (errors.py). grpcio itself costs about 0.2 ms a request in Python.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

try:
    import grpc
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha import reflection
except ImportError as error:
    raise ImportError(f"gRPC needs {error.name}: run: pip install 'headrace[grpc]'") from None

from google.protobuf import json_format

from ..generation import Sampling, Terms
from ..usage import current_usage
from . import inference_models as models
from .access import Call
from .errors import HttpError, explain
from .grpc_messages import METHODS, POOL, SERVICE, message, read_request, write_response
from .inference_tasks import split_parameters
from .inference_tensors import read_texts
from .service import Service, request_id

if TYPE_CHECKING:
    from google.protobuf.message import Message

# What tells whether the server lives needs no key.
OPEN_METHODS = frozenset(
    {f"/{SERVICE}/ServerLive", f"/{SERVICE}/ServerReady", "/grpc.health.v1.Health/Check"}
)
_STATUS = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    421: grpc.StatusCode.PERMISSION_DENIED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_ANSWER_BYTES = 256 << 20  # of an answer; a request's limit is that of HTTP's bodies
_STREAMED_AT_A_TIME = 32  # requests of one stream under way

Context = Any  # grpc.aio.ServicerContext, which is generic only for type checkers
Handler = Callable[["Servicer", Any, Context], Awaitable["Message"]]


class Servicer:
    """The methods of GRPCInferenceService, each with the name it has there."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def ServerLive(self, request: Any, context: Context) -> Message:
        return _made("ServerLiveResponse", live=True)

    async def ServerReady(self, request: Any, context: Context) -> Message:
        try:
            self.service.check_ready()
        except HttpError:
            return _made("ServerReadyResponse", ready=False)
        return _made("ServerReadyResponse", ready=True)

    async def ModelReady(self, request: Any, context: Context) -> Message:
        models.found(self.service, request.name, request.version)
        return _made("ModelReadyResponse", ready=True)

    async def ServerMetadata(self, request: Any, context: Context) -> Message:
        return _parsed("ServerMetadataResponse", models.server_metadata())

    async def ModelMetadata(self, request: Any, context: Context) -> Message:
        model = models.found(self.service, request.name, request.version)
        return _parsed("ModelMetadataResponse", models.metadata(model))

    async def ModelConfig(self, request: Any, context: Context) -> Message:
        model = models.found(self.service, request.name, request.version)
        config = {
            **models.config(model),
            "model_transaction_policy": {"decoupled": model.info.task == "generate"},
        }
        return _parsed("ModelConfigResponse", {"config": config})

    async def ModelStatistics(self, request: Any, context: Context) -> Message:
        names = [info.name for info in self.service.models()]
        if request.name:
            names = [models.found(self.service, request.name, request.version).name]
        return _parsed("ModelStatisticsResponse", models.statistics(self.service, names))

    async def RepositoryIndex(self, request: Any, context: Context) -> Message:
        return _parsed("RepositoryIndexResponse", {"models": models.index(self.service, request.ready)})

    async def ModelInfer(self, request: Any, context: Context) -> Message:
        model = models.found(self.service, request.model_name, request.model_version)
        wanted, raw = read_request(request)
        outputs = await models.infer(model, wanted, raw, context.time_remaining())
        return write_response(model.name, models.VERSION, wanted, outputs)

    async def stream(self, request: Any, context: Context) -> AsyncIterator[Message]:
        """The answers to one request of ModelStreamInfer: of a language model a piece of text each."""
        model = models.found(self.service, request.model_name, request.model_version)
        if model.info.task != "generate":
            yield await self.ModelInfer(request, context)
            return
        wanted, raw = read_request(request)
        tensors = models.tensors_of(model.info)
        own, timeout = split_parameters(tensors, wanted.parameters)
        [prompt] = read_texts(wanted, raw, tensors.inputs)["text_input"]
        call = current_usage.get()
        tenant = call.principal.tenant if isinstance(call, Call) else ""
        stream = await model.abegin(
            prompt, Sampling(**own), Terms(timeout=timeout, priority="interactive", tenant=tenant)
        )
        [spec] = tensors.outputs(model.info)
        async for piece in model.apieces(stream):
            answer = write_response(model.name, models.VERSION, wanted, {spec.name: (spec, [piece.text])})
            is_last: Any = answer
            is_last.parameters["triton_final_response"].bool_param = piece.finish_reason is not None
            yield answer


def _made(name: str, **fields: Any) -> Message:
    made: Message = message(name)(**fields)
    return made


def _parsed(name: str, fields: dict[str, Any]) -> Message:
    made: Message = json_format.ParseDict(fields, message(name)())
    return made


class _Admission:
    """Admits a call, counts it and records it, as the guard does for HTTP."""

    def __init__(self, service: Service, route: str, context: Context, size: int) -> None:
        self._service = service
        self._route = route
        self._start = time.perf_counter()
        self.status = 499  # unless it comes to an end of its own
        metadata = dict(context.invocation_metadata() or ())
        given = metadata.get("x-request-id")
        self.identity = request_id(given if isinstance(given, str) else None)
        self._context = context
        self._metadata = metadata
        self._size = size
        self._call: Call | None = None

    def admit(self) -> None:
        """HttpError where it may not go on."""
        if f"/{self._route}" not in OPEN_METHODS:
            self._call = admitted(self._service, self._metadata, self.identity, self._size)
        if self._call is not None:
            self._call.route = self._route
            current_usage.set(self._call)  # of this call's own task

    async def abort(self, error: BaseException) -> None:
        told = explain(error, self.identity)
        self.status = told.status
        if self._call is None and self._service.access is not None:
            self._service.access.refuse(told.status, "grpc")
        trailing = [("x-request-id", self.identity)]
        trailing += [
            (name.decode(), value.decode()) for name, value in told.headers if name.startswith(b"retry")
        ]
        self._context.set_trailing_metadata(tuple(trailing))
        await self._context.abort(_STATUS.get(told.status, grpc.StatusCode.INTERNAL), told.message)

    async def recorded(self) -> bool:
        """Records a call that is done; False where it had to be durable and is not."""
        access, call = self._service.access, self._call
        if access is None or call is None:
            return True
        self._call = None
        if access.audit is None or not access.audit.strict:
            access.finish(call, self.status)
            return True
        return await access.finish_durably(call, self.status)

    def close(self) -> None:
        if self._call is not None and self._service.access is not None:
            self._service.access.finish(self._call, self.status)
        self._service.metrics.observe(self._route, self.status, time.perf_counter() - self._start)


def admitted(service: Service, metadata: dict[str, Any], identity: str, size: int) -> Call | None:
    """The call that may go on; None where the server has nothing that admits."""
    if service.access is None:
        return None
    authorization = metadata.get("authorization")
    # Whoever can speak gRPC is no browser led here by a foreign name, so the host is not checked.
    return service.access.admit(
        None, authorization if isinstance(authorization, str) else None, identity, size
    )


def _unary(servicer: Servicer, name: str) -> Any:
    handler: Handler = getattr(type(servicer), name)
    route = f"{SERVICE}/{name}"

    async def answer(request: Any, context: Context) -> Message | None:
        admission = _Admission(servicer.service, route, context, request.ByteSize())
        try:
            admission.admit()
            response = await handler(servicer, request, context)
            admission.status = 200
            if not await admission.recorded():
                raise HttpError(503, "the audit log cannot be written", code="audit_unavailable")
            return response
        except Exception as error:
            if isinstance(error, grpc.aio.AbortError):
                raise
            await admission.abort(error)
            return None
        finally:
            admission.close()

    return answer


def _stream(servicer: Servicer) -> Any:
    route = f"{SERVICE}/ModelStreamInfer"
    Response = message("ModelStreamInferResponse")

    async def one(request: Any, context: Context, answers: asyncio.Queue[Message | None]) -> None:
        admission = _Admission(servicer.service, route, context, request.ByteSize())
        try:
            admission.admit()
            async for answer in servicer.stream(request, context):
                await answers.put(Response(infer_response=answer))
            admission.status = 200
            if not await admission.recorded():
                raise HttpError(503, "the audit log cannot be written", code="audit_unavailable")
        except Exception as error:
            told = explain(error, admission.identity)
            admission.status = told.status
            failed = Response(error_message=told.message)
            failed.infer_response.id = request.id
            await answers.put(failed)
        finally:
            admission.close()

    async def answer(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Message]:
        """Answers come as they are ready; each has its request's id."""
        answers: asyncio.Queue[Message | None] = asyncio.Queue(maxsize=64)
        slots = asyncio.Semaphore(_STREAMED_AT_A_TIME)
        tasks: set[asyncio.Task[None]] = set()

        def ended(task: asyncio.Task[None]) -> None:
            tasks.discard(task)
            slots.release()

        async def read() -> None:
            async for request in requests:
                await slots.acquire()
                task = asyncio.create_task(one(request, context, answers))
                tasks.add(task)
                task.add_done_callback(ended)
            await asyncio.gather(*tasks)
            await answers.put(None)

        reader = asyncio.create_task(read())
        try:
            while (found := await answers.get()) is not None:
                yield found
        finally:
            for task in (reader, *tasks):
                task.cancel()

    return answer


class _KeysFirst(grpc.aio.ServerInterceptor):
    """Refuses methods that are not ours to admit, such as reflection's, without a key."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        method: str = details.method
        if self._service.access is None or method in OPEN_METHODS or method.startswith(f"/{SERVICE}/"):
            return await continuation(details)
        try:
            admitted(self._service, dict(details.invocation_metadata or ()), request_id(None), 0)
        except HttpError as error:
            told, status = str(error), _STATUS.get(error.status, grpc.StatusCode.INTERNAL)
            self._service.access.refuse(error.status, "grpc")

            async def refuse(_: Any, context: Context) -> Any:
                await context.abort(status, told)

            async def refuse_stream(_: Any, context: Context) -> Any:
                await context.abort(status, told)
                yield

            handler = await continuation(details)
            if handler is None or not (handler.request_streaming or handler.response_streaming):
                return grpc.unary_unary_rpc_method_handler(refuse)
            if not handler.request_streaming:
                return grpc.unary_stream_rpc_method_handler(refuse_stream)
            if not handler.response_streaming:
                return grpc.stream_unary_rpc_method_handler(refuse)
            return grpc.stream_stream_rpc_method_handler(refuse_stream)
        return await continuation(details)


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
        handlers = {}
        for method in METHODS:
            answer = _message_class(method.output_type)
            if method.name == "ModelStreamInfer":
                handlers[method.name] = grpc.stream_stream_rpc_method_handler(
                    _stream(servicer), _message_class(method.input_type).FromString, answer.SerializeToString
                )
            elif hasattr(servicer, method.name):
                handlers[method.name] = grpc.unary_unary_rpc_method_handler(
                    _unary(servicer, method.name),
                    _message_class(method.input_type).FromString,
                    answer.SerializeToString,
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


def _message_class(descriptor: Any) -> Any:
    return message(descriptor.name)


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
