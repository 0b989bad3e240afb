"""The OpenAI routes for any ASGI server: POST /v1/embeddings and GET /v1/models."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from .answer import Answer
from .embeddings import ROUTE, EmbeddingsCall, loaded_model
from .errors import HttpError
from .requests import read_body_or_form
from .service import DisconnectWatch, Endpoint, Listed, Service


def embeddings_endpoint(service: Service) -> Endpoint:
    """POST /v1/embeddings."""

    @service.endpoint(ROUTE)
    async def create_embeddings(request: Request) -> Response:
        call = await EmbeddingsCall.of(service, await read_body_or_form(request, service.max_body_bytes))
        with DisconnectWatch(request):
            result = await call.result()
        if call.writes_inline:
            return call.written(result)
        return await asyncio.to_thread(call.written, result)

    return create_embeddings


def list_models_endpoint(service: Service) -> Endpoint:
    """GET /v1/models."""

    @service.endpoint("/v1/models")
    async def list_models(request: Request) -> Response:
        data = [model_object(each) for each in service.listed()]
        return Answer(msgspec.json.encode({"object": "list", "data": data}))

    return list_models


def get_model_endpoint(service: Service) -> Endpoint:
    """GET /v1/models/{id}."""

    @service.endpoint("/v1/models/{id}")
    async def get_model(request: Request) -> Response:
        name = service.engine.resolve(request.path_params["id"])
        found = next((each for each in service.listed() if each.name == name), None)
        if found is None:
            loaded_model(service, name)  # raises the error that names the models there are
            raise HttpError(
                404, f"model {name!r} has just been removed", code="model_not_found", param="model"
            )
        return Answer(msgspec.json.encode(model_object(found)))

    return get_model


def model_object(listed: Listed) -> dict[str, Any]:
    """A model as OpenAI lists it, with what a user of embeddings wants to know besides, as far as it is known."""
    info = listed.info
    if info is None:
        return {
            "id": listed.name,
            "object": "model",
            "created": listed.created,
            "owned_by": "headrace",
            "loaded": False,
        }
    extra: dict[str, Any] = {"labels": info.labels} if info.labels else {}
    if info.task == "embed":
        extra = {
            "similarity": info.similarity,
            "prompts": info.prompts,
            "default_prompt_name": info.default_prompt,
        }
    if info.inputs:
        extra |= {"inputs": len(info.inputs), "files": [i.name for i in info.inputs if i.dtype == "bytes"]}
    return {
        "id": info.name,
        "object": "model",
        "created": info.created,
        "owned_by": "headrace",
        "task": info.task,
        "dimensions": info.dimensions,
        "max_tokens": info.max_tokens,
        **(
            {"modalities": info.modalities, "image_size": info.image_size}
            if "image" in info.modalities
            else {}
        ),
        "precision": info.precision,
        "loaded": listed.is_loaded,
        **({} if info.base is None else {"parent": info.base}),
        **extra,
    }
