"""POST /v1/predict: a model that is a function or runs in another runtime, asked in JSON.

One item (`input`) or several (`inputs`); of a model of tensors an item is an object with its inputs, bytes in base64. A
function that yields may be streamed: server-sent events, one for each piece.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from .. import _core
from ..attributions.explanation import MAX_REQUEST
from ..attributions.items import ItemsExplained
from ..errors import InternalError
from ..predict_methods import rows
from .answer import Answer
from .embeddings import find_model, loaded_model
from .errors import error_response, invalid
from .explaining import ExplainOptions, options_of, written
from .inference_tensors import from_base64
from .masking import mask_body, mask_values
from .requests import MAX_INPUTS, NOTHING, Name, decode, decode_value, read_body
from .service import DisconnectWatch, Endpoint, Service, identity_of
from .work_call import WorkCall

if TYPE_CHECKING:
    from ..attributions.explanation import Options
    from ..loaded_model import Model
    from ..predict.work import Work

PREDICT_ROUTE = "/v1/predict"


class PredictRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body: `input` or `inputs`, which are read once it is known what the model takes."""

    model: Name
    input: msgspec.Raw = NOTHING
    inputs: (
        Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MAX_INPUTS)] | msgspec.UnsetType
    ) = msgspec.UNSET
    stream: bool = False
    explain: bool | ExplainOptions = False
    user: str | None = None


_decoder = msgspec.json.Decoder(PredictRequest)


def json_default(value: Any) -> Any:
    """What JSON makes of numpy's things. InternalError for what it can make nothing of."""
    import numpy as np

    if isinstance(value, np.ndarray):
        if value.dtype == np.float32:
            return msgspec.Raw(_core.tensor_json(np.ascontiguousarray(value)))
        return value.tolist()
    if isinstance(value, np.float32):
        return msgspec.Raw(_core.tensor_json(np.asarray(value)))
    if isinstance(value, np.generic):
        return value.item()
    error = InternalError(
        f"the model answered with a value of type {type(value).__name__}, which JSON does not have: it must give None, "
        "numbers, str, bytes, lists, dicts or numpy arrays"
    )
    error.code = "model_error"
    raise error


_encode = msgspec.json.Encoder(enc_hook=json_default).encode


def _with_bytes(item: Any, names: list[str]) -> Any:
    """An item with what its inputs of these names stand for in base64. What is no item is told later."""

    def read(name: str, value: Any) -> Any:
        return (
            [read(name, each) for each in value]
            if isinstance(value, list)
            else from_base64(name, value, "input")
        )

    if not isinstance(item, dict):
        return item
    return item | {name: read(name, item[name]) for name in names if name in item}


def _bytes_inputs(model: Model) -> list[str]:
    return [spec.name for spec in model.info.inputs if spec.dtype == "bytes"]


def _answers(work: Work) -> list[dict[str, Any]]:
    return [{"output": output} for output in rows(work)]


class PredictCall(WorkCall):
    """One request that was understood, made by `of`."""

    __slots__ = ("_explain", "_given", "_is_one", "_name", "_service", "_wanted")

    @classmethod
    async def of(cls, service: Service, body: bytes) -> PredictCall:
        """Of a body; HttpError or another error of ours when it cannot be."""
        call = cls(service, body)
        found = loaded_model(service, call._name)
        if found is not None:
            await call._use(found)
        return call

    def __init__(self, service: Service, body: bytes) -> None:
        super().__init__()
        wanted = decode(_decoder, body)
        self._is_one = wanted.inputs is msgspec.UNSET
        if (wanted.input is NOTHING) == self._is_one:
            raise invalid("give input, one item, or inputs, a list of them", param="input")
        self._explain = options_of(wanted.explain)
        if self._explain is not None and wanted.stream:
            raise invalid("explain: an answer that is streamed cannot be explained", param="explain")
        self._service = service
        self._name = wanted.model
        self._wanted = wanted
        self._given = body

    async def _use(self, model: Model) -> None:
        self._model = model
        # What is bytes is known by the model alone, and base64 is no text.
        body = await mask_body(self._given, leaves=_bytes_inputs(model))
        if body is not self._given:
            self._wanted = decode(_decoder, body)
            self._explain = options_of(self._wanted.explain)
        if not self._wanted.stream and self._explain is None:
            self._work = model._many(self._items())

    def _items(self) -> list[Any]:
        wanted = self._wanted
        given: Any = [wanted.input] if wanted.inputs is msgspec.UNSET else wanted.inputs
        specs = self._model.info.inputs
        names = _bytes_inputs(self._model)
        if names:
            return [_with_bytes(decode_value(raw), names) for raw in given]
        if specs and self._explain is None:  # numbers become arrays without an object for each
            return [_core.json_tensors(bytes(raw)) or decode_value(raw) for raw in given]
        return [decode_value(raw) for raw in given]

    async def answer(self, request: Request) -> Response:
        """Runs it, as the task that asks; cancelling the task cancels the work."""
        if self._model is None:
            await self._use(await find_model(self._service, self._name))
        if self._explain is not None:
            return await self._explained(request, self._explain)
        if self._work is None:
            return await _streamed(self._model, self._wanted, identity_of(request))
        with DisconnectWatch(request):
            await self._model._acall(self._work, self._timeout, "interactive", "refuse")
            return Answer(self._body(await mask_values(_answers(self._work)), self._work.count))

    def written(self, work: Work) -> Answer:
        """The answer that its results are, where nothing masks them."""
        return Answer(self._body(_answers(work), work.count))

    def _body(self, answers: list[dict[str, Any]], count: int) -> bytes:
        """The body with an answer for each item, for which `count` items were run."""
        about = {"model": self._name, "usage": {"items": count}}
        if self._is_one:
            return _encode({"object": "prediction", **answers[0], **about})
        data = [{"object": "prediction", "index": i, **answer} for i, answer in enumerate(answers)]
        return _encode({"object": "list", "data": data, **about})

    async def _explained(self, request: Request, options: Options) -> Response:
        """With what did it: all evaluations are one call, so the queue, deadlines and leaving are as for any other."""
        model: Model = self._model
        model._check_task("predict")
        with DisconnectWatch(request):
            # Hundreds of items are made of one: too much for the event loop.
            asked, work = await asyncio.get_running_loop().run_in_executor(None, self._asked, options)
            await model._acall(work, None, "interactive", "refuse")
        outputs = rows(work)
        answers = [
            {"output": output, "explanation": written(explanation)}
            for output, explanation in zip(asked.answers(outputs), asked.explanations(outputs), strict=True)
        ]
        return Answer(self._body(await mask_values(answers), work.count))

    def _asked(self, options: Options) -> tuple[ItemsExplained, Work]:
        asked = ItemsExplained(self._model, self._items(), options, most=MAX_REQUEST)
        return asked, self._model._many(asked.items)


def predict_endpoint(service: Service) -> Endpoint:
    """The endpoint of /v1/predict."""

    @service.endpoint(PREDICT_ROUTE)
    async def predict(request: Request) -> Response:
        call = await PredictCall.of(service, await read_body(request, service.max_body_bytes))
        return await call.answer(request)

    return predict


async def _streamed(model: Model, wanted: PredictRequest, identity: str) -> Response:
    if wanted.input is NOTHING:
        raise invalid("stream: give input, one item", param="inputs")
    pieces = model.apredict_stream(decode_value(wanted.input), priority="interactive", admission="refuse")
    # What is wrong with the request is to have a status of its own, so the answer begins with the first piece.
    first = await anext(pieces, msgspec.UNSET)
    return StreamingResponse(
        _events(wanted.model, first, pieces, identity),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


async def _events(name: str, first: Any, pieces: Any, identity: str) -> AsyncIterator[bytes]:
    """Server-sent events, then [DONE]; an error after the first byte is an event with the body that it would have."""

    async def event(piece: Any) -> bytes:
        body = {"object": "prediction.chunk", "output": await mask_values(piece), "model": name}
        return b"data: " + _encode(body) + b"\n\n"

    try:
        async with aclosing(pieces):
            if first is not msgspec.UNSET:
                yield await event(first)
            async for piece in pieces:
                yield await event(piece)
    except Exception as error:
        yield b"data: " + bytes(error_response(error, identity).body) + b"\n\n"
        return
    yield b"data: [DONE]\n\n"
