"""The methods of the Open Inference Protocol over gRPC.

Everything behind a message is what HTTP has: keys, limits and the record (access.py), models (inference_models.py),
errors (errors.py). grpcio itself costs about 0.2 ms a request in Python.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

import grpc
from google.protobuf import json_format
from google.protobuf.message import DecodeError

from ..generation import Sampling
from ..pipeline import Pipeline
from ..security.certificates import names_of_call
from ..usage import current_usage
from . import inference_models as models
from .access import Call, unaudited, writing_terms
from .errors import HttpError, explain, invalid
from .grpc_messages import SERVICE, message, read_request, write_response
from .inference_tasks import mask_items, piece_json, read_item, split_parameters
from .inference_tensors import read_inputs
from .masking import OutputStream, mask_texts
from .model_control import load, unload
from .service import Service, request_id

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from ..loaded_model import Model
    from .inference_tensors import InferRequest

# What tells whether the server lives needs no key.
OPEN_METHODS = frozenset(
    {f"/{SERVICE}/ServerLive", f"/{SERVICE}/ServerReady", "/grpc.health.v1.Health/Check"}
)
STATUS = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    422: grpc.StatusCode.FAILED_PRECONDITION,
    421: grpc.StatusCode.PERMISSION_DENIED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
    507: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
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
        models.check_served(self.service, request.name, request.version)
        return _made("ModelReadyResponse", ready=True)

    async def ServerMetadata(self, request: Any, context: Context) -> Message:
        return _parsed("ServerMetadataResponse", models.server_metadata())

    async def ModelMetadata(self, request: Any, context: Context) -> Message:
        info = await models.described(self.service, request.name, request.version)
        return _parsed("ModelMetadataResponse", models.metadata(info))

    async def ModelConfig(self, request: Any, context: Context) -> Message:
        info = await models.described(self.service, request.name, request.version)
        config = {
            **models.config(info),
            "model_transaction_policy": {
                "decoupled": info.task == "generate" or getattr(info, "streams", False)
            },
        }
        return _parsed("ModelConfigResponse", {"config": config})

    async def ModelStatistics(self, request: Any, context: Context) -> Message:
        infos = self.service.models()
        if request.name:
            infos = [await models.described(self.service, request.name, request.version)]
        return _parsed("ModelStatisticsResponse", models.statistics(self.service, infos))

    async def RepositoryIndex(self, request: Any, context: Context) -> Message:
        return _parsed("RepositoryIndexResponse", {"models": models.index(self.service, request.ready)})

    async def ModelInfer(self, request: Any, context: Context) -> Message:
        model = await models.found(self.service, request.model_name, request.model_version)
        wanted, raw = read_request(request)
        outputs = await models.infer(model, wanted, raw, context.time_remaining())
        return write_response(model.name, model.info.version, wanted, outputs)

    async def RepositoryModelLoad(self, request: Any, context: Context) -> Message:
        self._check_port()
        await load(self.service, request.model_name, _settings(request))
        return _made("RepositoryModelLoadResponse")

    async def RepositoryModelUnload(self, request: Any, context: Context) -> Message:
        self._check_port()
        await unload(self.service, request.model_name, _settings(request))
        return _made("RepositoryModelUnloadResponse")

    def _check_port(self) -> None:
        if self.service.admin_port is not None:
            raise HttpError(501, "this is not done here: ask by HTTP on the admin port")

    async def stream(self, request: Any, context: Context) -> AsyncIterator[Message]:
        """The answers to one request of ModelStreamInfer: of a language model a piece of text each."""
        model = await models.found(self.service, request.model_name, request.model_version)
        if isinstance(model, Pipeline) or not (model.info.task == "generate" or model.info.streams):
            yield _marked(await self.ModelInfer(request, context), is_last=True)
            return
        wanted, raw = read_request(request)
        tensors = models.tensors_of(model.info)
        if model.info.streams:
            async for answer in self._pieces(model, wanted, raw):
                yield answer
            return
        own, timeout = split_parameters(tensors, wanted.parameters)
        [prompt] = await mask_texts(cast("list[str]", read_inputs(wanted, raw, tensors.inputs)["text_input"]))
        sampling = Sampling(**own)
        stream = await model.abegin(prompt, sampling, writing_terms([sampling], timeout))
        [spec] = tensors.outputs(model.info)
        written = OutputStream()
        async for piece in model.apieces(stream):
            text = await written.push(piece.text, is_last=piece.finish_reason is not None)
            answer = write_response(model.name, model.info.version, wanted, {spec.name: (spec, [text])})
            yield _marked(answer, is_last=piece.finish_reason is not None)

    async def _pieces(self, model: Model, wanted: InferRequest, raw: memoryview) -> AsyncIterator[Message]:
        """A function that yields: a message for each piece, and an empty one that says it is the last."""
        tensors = models.tensors_of(model.info)
        _, timeout = split_parameters(tensors, wanted.parameters)
        texts = await mask_items(cast("list[str]", read_inputs(wanted, raw, tensors.inputs)["input"]))
        if len(texts) != 1:
            raise invalid(f"inputs['input'] holds {len(texts)} items: a stream is of one", param="inputs")
        [spec] = tensors.outputs(model.info)

        def answer(pieces: list[str], is_last: bool) -> Message:
            made = write_response(model.name, model.info.version, wanted, {spec.name: (spec, pieces)})
            return _marked(made, is_last=is_last)

        item = read_item(texts[0])
        async for piece in model.apredict_stream(
            item, timeout=timeout, priority="interactive", admission="refuse"
        ):
            yield answer([await piece_json(piece)], is_last=False)
        yield answer([], is_last=True)


def _marked(answer: Message, *, is_last: bool) -> Message:
    """As Triton marks the messages of a stream, so that its clients know when a request was answered."""
    fields: Any = answer
    fields.parameters["triton_final_response"].bool_param = is_last
    return answer


def _settings(request: Any) -> dict[str, Any]:
    return {
        name: getattr(value, value.WhichOneof("parameter_choice") or "", None)
        for name, value in request.parameters.items()
    }


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
        self._access = service.access
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
            self._call = admitted(self._service, self._metadata, self.identity, self._size, self._context)
        if self._call is not None:
            self._call.route = self._route
            given = self._metadata.get("traceparent")
            self._call.traceparent = given if isinstance(given, str) else None
            current_usage.set(self._call)  # of this call's own task

    def fail(self, error: BaseException) -> None:
        """Says how the call failed. It ends without a message, which is cheaper than to abort it."""
        told = explain(error, self.identity)
        self.status = told.status
        if self._call is None and self._access is not None:
            self._access.refuse(told.status, "grpc")
        trailing = [("x-request-id", self.identity)]
        trailing += [
            (name.decode(), value.decode()) for name, value in told.headers if name.startswith(b"retry")
        ]
        self._context.set_trailing_metadata(tuple(trailing))
        self._context.set_code(STATUS.get(told.status, grpc.StatusCode.INTERNAL))
        self._context.set_details(told.message)

    async def begin(self) -> None:
        """Before the first part of an answer that is streamed. HttpError where it had to be recorded and is not."""
        if (
            self._access is not None
            and self._call is not None
            and not await self._access.begin_durably(self._call)
        ):
            raise unaudited()

    async def finish(self) -> None:
        """The call is answered. HttpError where it had to be recorded and is not."""
        self.status = 200
        call, self._call = self._call, None
        if self._access is not None and call is not None and not await self._access.finish_durably(call, 200):
            raise unaudited()

    def close(self) -> None:
        if self._call is not None and self._access is not None:
            self._access.finish(self._call, self.status)
        self._service.metrics.observe(self._route, self.status, time.perf_counter() - self._start)


def admitted(
    service: Service, metadata: dict[str, Any], identity: str, size: int, context: Context
) -> Call | None:
    """The call that may go on; None where the server has nothing that admits."""
    if service.access is None:
        return None
    # Whoever can speak gRPC is no browser led here by a foreign name, so the host is not checked.
    certificate = names_of_call(context.auth_context()) if service.access.takes_certificates else ()
    return service.access.admit(None, authorization(metadata), identity, size, certificate)


def authorization(metadata: dict[str, Any]) -> str | None:
    given = metadata.get("authorization")
    return given if isinstance(given, str) else None


def _read(kind: Any, data: bytes) -> Any:
    """Read only once the call is admitted, and refused as every other bad input is."""
    try:
        return kind.FromString(data)
    except DecodeError:
        raise invalid(f"the message is not a {kind.DESCRIPTOR.name}") from None


def unary_handler(servicer: Servicer, name: str) -> Any:
    handler: Handler = getattr(type(servicer), name)
    route = f"{SERVICE}/{name}"
    kind = message(f"{name}Request")

    async def answer(data: bytes, context: Context) -> Message | None:
        admission = _Admission(servicer.service, route, context, len(data))
        try:
            admission.admit()
            response = await handler(servicer, _read(kind, data), context)
            await admission.finish()
            return response
        except Exception as error:
            admission.fail(error)
            return None
        finally:
            admission.close()

    return answer


def stream_handler(servicer: Servicer) -> Any:
    route = f"{SERVICE}/ModelStreamInfer"
    kind, Response = message("ModelInferRequest"), message("ModelStreamInferResponse")

    async def one(data: bytes, context: Context, answers: asyncio.Queue[Message | None]) -> None:
        admission = _Admission(servicer.service, route, context, len(data))
        request = kind()
        try:
            admission.admit()
            request = _read(kind, data)
            is_first = True
            async for answer in servicer.stream(request, context):
                if is_first:
                    await admission.begin()
                    is_first = False
                await answers.put(Response(infer_response=answer))
            await admission.finish()
        except Exception as error:
            told = explain(error, admission.identity)
            admission.status = told.status
            failed = Response(error_message=told.message)
            failed.infer_response.id = request.id
            await answers.put(failed)
        finally:
            admission.close()

    async def answer(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[Message]:
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
