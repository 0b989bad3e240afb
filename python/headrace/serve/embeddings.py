"""POST /v1/embeddings from the bytes of a body to those of its answer, whoever carries them.

The ASGI route (openai.py) and the connections of `headrace serve` (connection.py) both end here. The vectors become
bytes in C++: nothing is made per number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from .._core import embedding_objects_json
from .access import current_call
from .errors import HttpError
from .masking import check_ids
from .requests import decode_embeddings
from .service import Service

if TYPE_CHECKING:
    from .._core import CompletionQueue, Ticket
    from ..loaded_model import Embeddings, Model

ROUTE = "/v1/embeddings"
# Writing this many numbers takes about 5 ms; beyond it a thread writes, so that the event loop goes on.
_MAX_INLINE_NUMBERS = 100_000
_encode = msgspec.json.Encoder().encode


class EmbeddingsCall:
    """One request that was understood. Made of its body; HttpError or ModelNotFoundError when it cannot be."""

    __slots__ = ("_base64", "_dimensions", "_inputs", "_model", "_name", "_prompt_name", "_truncate")

    def __init__(self, service: Service, body: bytes) -> None:
        wanted = decode_embeddings(body)
        self._inputs = wanted.inputs()
        self._model = find_model(service, wanted.model)
        if not isinstance(self._inputs[0], str):
            check_ids(self._model.tokenizer, self._inputs, "input")
        self._name = wanted.model
        self._dimensions = wanted.dimensions
        self._truncate = wanted.truncate
        self._prompt_name = wanted.prompt_name
        self._base64 = wanted.encoding_format == "base64"

    @property
    def writes_inline(self) -> bool:
        """Whether the answer is small enough to be written on the event loop."""
        return len(self._inputs) * self._model.info.dimensions <= _MAX_INLINE_NUMBERS

    async def result(self) -> Embeddings:
        """Runs it, as the task that asks; cancelling the task cancels the work."""
        return await self._model.aembed_result(
            self._inputs,
            prompt_name=self._prompt_name,
            truncate=self._truncate,
            dimensions=self._dimensions,
        )

    def submit(self, queue: CompletionQueue) -> Ticket:
        """Starts it, tokenising at once; `queue` hears of its end, unless the ticket is finished already."""
        return self._model._begin_result(
            self._inputs,
            queue,
            prompt_name=self._prompt_name,
            truncate=self._truncate,
            dimensions=self._dimensions,
        )

    def cancel(self, ticket: Ticket) -> None:
        self._model._cancel(ticket)

    def cost(self, ticket: Ticket) -> int:
        """What it takes of its key's limits."""
        return ticket.tokens

    def result_of(self, ticket: Ticket) -> Embeddings:
        """What a finished ticket holds; raises what it failed with."""
        return self._model._result_of(ticket, self._dimensions)

    def body(self, result: Embeddings) -> bytes:
        """The answer's body."""
        tokens = result.tokens
        usage = b'{"prompt_tokens":%d,"total_tokens":%d' % (tokens, tokens)
        if self._truncate:
            usage += b',"truncated_inputs":%d' % result.truncated
        data = embedding_objects_json(result.vectors, self._base64)
        return b'{"object":"list","data":%b,"model":%b,"usage":%b}}' % (data, _encode(self._name), usage)


def find_model(service: Service, name: str) -> Model:
    """The model of that name; 503 while it is still being loaded, 500 when that failed, ModelNotFoundError when
    there is none, 403 where the key may not use it."""
    name = service.engine.resolve(name)
    call = current_call()
    if call is not None:
        call.use("infer", name)
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
    return service.engine.model(name)
