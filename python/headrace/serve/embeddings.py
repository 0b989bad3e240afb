"""POST /v1/embeddings from the bytes of a body to those of its answer, whoever carries them.

The ASGI route (openai.py) and the connections of `headrace serve` (connection.py) both end here. The vectors become
bytes in C++: nothing is made per number.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec

from .._core import embedding_objects_json
from ..errors import Error, InvalidArgumentError
from ..tasks.images import EmbedImagesJob
from .access import current_call
from .answer import Answer
from .errors import HttpError
from .masking import check_ids
from .requests import EmbeddingsRequest, decode_embeddings
from .service import Service

if TYPE_CHECKING:
    from .._core import CompletionQueue, Ticket
    from ..loaded_model import Embeddings, Model

logger = logging.getLogger("headrace.serve")

ROUTE = "/v1/embeddings"
# Writing this many numbers takes about 5 ms; beyond it a thread writes, so that the event loop goes on.
_MAX_INLINE_NUMBERS = 100_000
_encode = msgspec.json.Encoder().encode


class EmbeddingsCall:
    """One request that was understood, made by `of`."""

    __slots__ = (
        *("_base64", "_dimensions", "_inputs", "_model", "_name", "_pictures", "_prompt_name", "_service"),
        "_truncate",
    )

    @classmethod
    async def of(cls, service: Service, body: bytes) -> EmbeddingsCall:
        """Of a body; HttpError or ModelNotFoundError when it cannot be."""
        call = cls(service, await decode_embeddings(body))
        found = loaded_model(service, call._name)
        if found is not None:
            await call._use(found)
        return call

    def __init__(self, service: Service, wanted: EmbeddingsRequest) -> None:
        self._service = service
        self._pictures = wanted.pictures()
        self._inputs = wanted.inputs() if self._pictures is None else []
        self._model: Any = None  # until it is loaded; then a Model
        self._name = wanted.model
        self._dimensions = wanted.dimensions
        self._truncate = wanted.truncate
        self._prompt_name = wanted.prompt_name
        self._base64 = wanted.encoding_format == "base64"

    async def _use(self, model: Model) -> None:
        if self._inputs and not isinstance(self._inputs[0], str):
            await check_ids(model.tokenizer, self._inputs, "input")
        self._model = model

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in memory; else only `result` can run it."""
        return self._model is not None

    @property
    def writes_inline(self) -> bool:
        """Whether the answer is small enough to be written on the event loop, and nothing takes long before it."""
        return (
            self._pictures is None and len(self._inputs) * self._model.info.dimensions <= _MAX_INLINE_NUMBERS
        )

    async def result(self) -> Embeddings:
        """Runs it, as the task that asks; cancelling the task cancels the work."""
        if self._model is None:
            await self._use(await find_model(self._service, self._name))
        if self._pictures is not None:
            self._model._check_dimensions(self._dimensions)
            _, ticket = await self._model._arun_request(EmbedImagesJob(self._pictures))
            seen: Embeddings = self._model._result_of(ticket, self._dimensions)
            return seen
        found: Embeddings = await self._model.aembed_result(
            self._inputs,
            prompt_name=self._prompt_name,
            truncate=self._truncate,
            dimensions=self._dimensions,
        )
        return found

    def submit(self, queue: CompletionQueue) -> Ticket:
        """Starts it, tokenising at once; `queue` hears of its end, unless the ticket is finished already."""
        ticket: Ticket = self._model._begin_result(
            self._inputs,
            queue,
            prompt_name=self._prompt_name,
            truncate=self._truncate,
            dimensions=self._dimensions,
        )
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        self._model._cancel(ticket)

    def cost(self, ticket: Ticket) -> int:
        """What it takes of its key's limits."""
        return ticket.tokens

    def result_of(self, ticket: Ticket) -> Embeddings:
        """What a ticket holds that was just finished; raises what it failed with."""
        self._model._ended(ticket)
        found: Embeddings = self._model._result_of(ticket, self._dimensions)
        return found

    def written(self, result: Embeddings) -> Answer:
        """The answer that a result is."""
        return Answer(self._body(result))

    def _body(self, result: Embeddings) -> bytes:
        tokens = result.tokens
        usage = b'{"prompt_tokens":%d,"total_tokens":%d' % (tokens, tokens)
        if self._truncate:
            usage += b',"truncated_inputs":%d' % result.truncated
        data = embedding_objects_json(result.vectors, self._base64)
        return b'{"object":"list","data":%b,"model":%b,"usage":%b}}' % (data, _encode(self._name), usage)


def loaded_model(service: Service, name: str) -> Model | None:
    """The model of that name, if it is in memory; None where it has to be loaded first, by `find_model`.

    HttpError 503 while the server starts to serve it, 500 when that failed, 403 where the key may not use it;
    ModelNotFoundError when there is none; InvalidArgumentError for a pipeline, which is no model.
    """
    name = service.engine.resolve(name)
    check_access(service, name)
    if name in service.engine.pipelines:
        error = InvalidArgumentError(f"{name!r} is a pipeline: run it by POST /v1/pipelines/{name}")
        error.code = "wrong_task"
        raise error
    return service.engine.loaded(name)


def check_access(service: Service, name: str) -> None:
    """HttpError as `loaded_model`, of what is served or is to be served as `name`."""
    call = current_call()
    if call is not None:
        call.use("infer", name, is_known=service.knows(name))
    if name in service.loading:
        error = HttpError(
            503, f"model {name!r} is still being loaded: try again in a second", code="model_loading"
        )
        error.headers["retry-after"] = "1"
        raise error
    if name in service.failed:
        raise HttpError(
            500,
            f"model {name!r} could not be loaded when the server started; what it wrote then says why",
            code="model_failed",
            param="model",
        )


async def find_model(service: Service, name: str) -> Model:
    """The model of that name, loaded first where it is not in memory. Raises what `loaded_model` raises; HttpError 500
    when it cannot be loaded, UnsupportedError and OverloadedError where the memory budget leaves it no room."""
    found = loaded_model(service, name)
    if found is not None:
        return found
    try:
        return await service.engine.amodel(name)
    except (Error, OSError, MemoryError) as error:
        if getattr(error, "code", None) in ("model_not_found", "model_too_large", "memory_busy"):
            raise
        logger.error("model %r could not be loaded: %s", name, error)
        raise HttpError(
            500,
            f"model {name!r} could not be loaded; the server's log says why",
            code="model_failed",
            param="model",
        ) from None
