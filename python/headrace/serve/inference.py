"""The Open Inference Protocol, version 2, over HTTP, with the binary tensor extension, and what Triton's clients ask
besides: model configuration, statistics and the repository's index."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from . import inference_models as models
from .answer import Answer
from .errors import invalid
from .inference_call import JSON_LENGTH, InferCall
from .model_control import handler, load, unload
from .requests import read_body
from .service import Endpoint, Service

_encode = msgspec.json.Encoder().encode


class _IndexRequest(msgspec.Struct):
    ready: bool = False


Handler = Callable[[Service, Request], Awaitable[Response]]


def _error(status: int, message: str, code: str | None, param: str | None) -> dict[str, Any]:
    return {"error": message}


def _endpoint(service: Service, route: str, handler: Handler) -> Endpoint:
    @service.endpoint(route, _error)
    async def answer(request: Request) -> Response:
        return await handler(service, request)

    return answer


def _json(value: Any) -> Response:
    return Answer(_encode(value))


def _named(request: Request) -> tuple[str, str]:
    return request.path_params["name"], request.path_params.get("version", "")


async def _server(service: Service, request: Request) -> Response:
    return _json(models.server_metadata())


async def _live(service: Service, request: Request) -> Response:
    return _json({"live": True})


async def _ready(service: Service, request: Request) -> Response:
    service.check_ready()
    return _json({"ready": True})


async def _model_ready(service: Service, request: Request) -> Response:
    models.check_served(service, *_named(request))
    return _json({"name": service.engine.resolve(request.path_params["name"]), "ready": True})


async def _metadata(service: Service, request: Request) -> Response:
    return _json(models.metadata(await models.described(service, *_named(request))))


async def _config(service: Service, request: Request) -> Response:
    return _json(models.config(await models.described(service, *_named(request))))


async def _statistics(service: Service, request: Request) -> Response:
    is_one = "name" in request.path_params
    infos = [await models.described(service, *_named(request))] if is_one else service.models()
    return _json(models.statistics(service, infos))


async def _index(service: Service, request: Request) -> Response:
    wanted = await read_body(request, service.max_body_bytes, any_type=True)
    try:
        only_ready = bool(wanted) and msgspec.json.decode(wanted, type=_IndexRequest).ready
    except msgspec.DecodeError as error:
        raise invalid(f"the body is not a JSON object: {error}") from None
    return _json(models.index(service, only_ready))


async def _infer(service: Service, request: Request) -> Response:
    body = await read_body(request, service.max_body_bytes, any_type=True)
    name, version = _named(request)
    length = request.headers.get(JSON_LENGTH)
    call = await InferCall.of(service, body, name=name, version=version, json_length=length)
    return await call.answer(request)


_MODEL = "/v2/models/{name}"
_VERSION = _MODEL + "/versions/{version}"
INFER_ROUTES = (f"{_MODEL}/infer", f"{_VERSION}/infer")
# (method, path) -> what answers, and what the description says of it.
ROUTES: dict[tuple[str, str], tuple[Handler, str]] = {
    ("GET", "/v2"): (_server, "Server metadata"),
    ("GET", "/v2/health/live"): (_live, "200 while the process runs"),
    ("GET", "/v2/health/ready"): (_ready, "200 when requests are welcome"),
    ("GET", "/v2/models/stats"): (_statistics, "Statistics of every model"),
    ("POST", "/v2/repository/index"): (_index, "Every model and its state"),
    ("POST", "/v2/repository/models/{name}/load"): (
        handler(load),
        "Load a model, or a version in place of another",
    ),
    ("POST", "/v2/repository/models/{name}/unload"): (handler(unload), "Stop serving a model"),
}
for _path in (_MODEL, _VERSION):
    ROUTES |= {
        ("GET", _path): (_metadata, "Model metadata"),
        ("GET", f"{_path}/ready"): (_model_ready, "200 when the model can be asked"),
        ("GET", f"{_path}/config"): (_config, "Model configuration"),
        ("GET", f"{_path}/stats"): (_statistics, "Statistics of the model"),
        ("POST", f"{_path}/infer"): (_infer, "Run a model on tensors"),
    }


def inference_endpoints(service: Service) -> dict[tuple[str, str], tuple[Endpoint, str]]:
    """(method, path) -> endpoint and summary."""
    return {key: (_endpoint(service, key[1], handler), summary) for key, (handler, summary) in ROUTES.items()}
