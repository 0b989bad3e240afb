"""The OpenAI routes: POST /v1/embeddings and GET /v1/models.

The hot route touches a request twice: the bytes of its body become one struct, and the vectors become the
bytes of its answer in C++. Nothing is made per number.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from .._core import embedding_objects_json
from .errors import HttpError
from .requests import decode_embeddings, read_body
from .service import DisconnectWatch, Endpoint, Service

if TYPE_CHECKING:
    from ..model import Model, ModelInfo

_JSON = "application/json"
# Writing this many numbers takes about 5 ms; beyond it a thread writes, so that the event loop goes on.
_MAX_INLINE_NUMBERS = 100_000


def embeddings_endpoint(service: Service) -> Endpoint:
    """POST /v1/embeddings."""
    encode = msgspec.json.Encoder().encode

    @service.endpoint("/v1/embeddings")
    async def create_embeddings(request: Request) -> Response:
        wanted = decode_embeddings(await read_body(request, service.max_body_bytes))
        inputs = wanted.inputs()
        model = find_model(service, wanted.model)
        with DisconnectWatch(request):
            result = await model.aembed_result(inputs, truncate=wanted.truncate, dimensions=wanted.dimensions)
        base64 = wanted.encoding_format == "base64"
        if result.vectors.size > _MAX_INLINE_NUMBERS:
            data = await asyncio.to_thread(embedding_objects_json, result.vectors, base64)
        else:
            data = embedding_objects_json(result.vectors, base64)
        usage = b'{"prompt_tokens":%d,"total_tokens":%d' % (result.tokens, result.tokens)
        if wanted.truncate:
            usage += b',"truncated_inputs":%d' % result.truncated
        body = b'{"object":"list","data":%b,"model":%b,"usage":%b}}' % (data, encode(wanted.model), usage)
        return Response(body, media_type=_JSON)

    return create_embeddings


def find_model(service: Service, name: str) -> Model:
    """The model of that name; 503 while it is still being loaded, ModelNotFoundError when there is none."""
    if name in service.loading:
        error = HttpError(
            503, f"model {name!r} is still being loaded: try again in a second", code="model_loading"
        )
        error.headers["retry-after"] = "1"
        raise error
    return service.engine.model(name)


def list_models_endpoint(service: Service) -> Endpoint:
    """GET /v1/models."""

    @service.endpoint("/v1/models")
    async def list_models(request: Request) -> Response:
        data = [model_object(info) for info in service.engine.models()]
        return Response(msgspec.json.encode({"object": "list", "data": data}), media_type=_JSON)

    return list_models


def get_model_endpoint(service: Service) -> Endpoint:
    """GET /v1/models/{id}."""

    @service.endpoint("/v1/models/{id}")
    async def get_model(request: Request) -> Response:
        name = request.path_params["id"]
        info = next((info for info in service.engine.models() if info.name == name), None)
        if info is None:
            find_model(service, name)  # raises the error that names the models there are
            raise HttpError(
                404, f"model {name!r} has just been removed", code="model_not_found", param="model"
            )
        return Response(msgspec.json.encode(model_object(info)), media_type=_JSON)

    return get_model


def model_object(info: ModelInfo) -> dict[str, Any]:
    """A model as OpenAI lists it, with what a user of embeddings wants to know besides."""
    return {
        "id": info.name,
        "object": "model",
        "created": info.created,
        "owned_by": "headrace",
        "task": info.task,
        "dimensions": info.dimensions,
        "max_tokens": info.max_tokens,
        "precision": info.precision,
    }
