"""The Open Inference Protocol, version 2, over REST, with the binary tensor extension, and what Triton's clients ask
besides: model configuration, statistics and the repository's index.

Specification: https://github.com/kserve/open-inference-protocol, and the extensions of the Triton Inference Server.
Every task is served as tensors (inference_tasks.py); docs/protocols.md lists them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from .. import _core
from .answer import Answer
from .embeddings import find_model
from .errors import HttpError, invalid
from .inference_tasks import TASKS, TaskTensors, split_parameters
from .inference_tensors import InferRequest, Spec, read_texts, write_outputs
from .requests import decode, read_body
from .service import DisconnectWatch, Endpoint, Service

if TYPE_CHECKING:
    from ..model import Model, ModelInfo

VERSION = "1"  # of every model: the engine serves one of each name
EXTENSIONS = ["binary_tensor_data", "model_configuration", "statistics", "model_repository"]
_HEADER = "inference-header-content-length"
_decoder = msgspec.json.Decoder(InferRequest)
_encode = msgspec.json.Encoder().encode

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


def _found(service: Service, request: Request) -> Model:
    """The model of the path, in the one version that there is."""
    model = find_model(service, request.path_params["name"])
    version = request.path_params.get("version", VERSION)
    if version != VERSION:
        raise HttpError(404, f"model {model.name!r} has no version {version[:32]!r}: there is {VERSION!r}")
    return model


def _tensors(info: ModelInfo) -> TaskTensors:
    return TASKS[info.task]


async def _server(service: Service, request: Request) -> Response:
    return _json({"name": "headrace", "version": _core.__version__, "extensions": EXTENSIONS})


async def _live(service: Service, request: Request) -> Response:
    return _json({"live": True})


async def _ready(service: Service, request: Request) -> Response:
    service.check_ready()
    return _json({"ready": True})


async def _model_ready(service: Service, request: Request) -> Response:
    return _json({"name": _found(service, request).name, "ready": True})


async def _metadata(service: Service, request: Request) -> Response:
    info = _found(service, request).info
    tensors = _tensors(info)
    return _json(
        {
            "name": info.name,
            "versions": [VERSION],
            "platform": f"headrace_{info.task}",
            "inputs": [spec.described() for spec in tensors.inputs],
            "outputs": [spec.described() for spec in tensors.outputs(info)],
        }
    )


async def _config(service: Service, request: Request) -> Response:
    """What of Triton's model configuration there is to say."""
    info = _found(service, request).info
    tensors = _tensors(info)

    def described(spec: Spec) -> dict[str, Any]:
        kind = "STRING" if spec.datatype == "BYTES" else spec.datatype
        return {"name": spec.name, "data_type": f"TYPE_{kind}", "dims": list(spec.shape)}

    return _json(
        {
            "name": info.name,
            "platform": f"headrace_{info.task}",
            "backend": "headrace",
            "max_batch_size": 0,  # the first dimension is written out, and batches are the engine's own affair
            "input": [described(spec) for spec in tensors.inputs],
            "output": [described(spec) for spec in tensors.outputs(info)],
            "version_policy": {"specific": {"versions": [int(VERSION)]}},
            "parameters": {
                "task": {"string_value": info.task},
                "precision": {"string_value": info.precision},
            },
        }
    )


async def _statistics(service: Service, request: Request) -> Response:
    """The engine's own counters, in nanoseconds where the protocol wants times."""
    stats = service.engine.stats()
    name = request.path_params.get("name")
    names = [info.name for info in service.models()] if name is None else [_found(service, request).name]
    return _json({"model_stats": [_counted(name, stats) for name in names]})


def _counted(name: str, stats: dict[str, Any]) -> dict[str, Any]:
    found = stats["models"].get(name)
    values = found or stats["language_models"].get(name, {})
    failed = sum(values.get(kind, 0) for kind in ("refused", "expired", "cancelled", "failed"))

    def duration(key: str, count: int) -> dict[str, int]:
        seconds = (
            found[key]["sum"]
            if found
            else values.get("step_seconds", 0.0)
            if key == "forward_seconds"
            else 0.0
        )
        return {"count": count, "ns": int(seconds * 1e9)}

    requests, batches = values.get("requests", 0), values.get("batches", values.get("steps", 0))
    queue, compute = duration("queue_seconds", requests), duration("forward_seconds", batches)
    nothing = {"count": requests, "ns": 0}
    return {
        "name": name,
        "version": VERSION,
        "last_inference": 0,
        "inference_count": values.get("sequences", requests),
        "execution_count": batches,
        "inference_stats": {
            "success": {"count": requests, "ns": queue["ns"] + compute["ns"]},
            "fail": {"count": failed, "ns": 0},
            "queue": queue,
            "compute_input": nothing,
            "compute_infer": compute,
            "compute_output": nothing,
            "cache_hit": {"count": 0, "ns": 0},
            "cache_miss": {"count": 0, "ns": 0},
        },
        "batch_stats": [],
    }


async def _index(service: Service, request: Request) -> Response:
    """Every model that is served, is being loaded, or could not be."""
    wanted = await read_body(request, service.max_body_bytes, any_type=True)
    try:
        only_ready = bool(wanted) and msgspec.json.decode(wanted, type=dict[str, Any]).get("ready") is True
    except msgspec.DecodeError as error:
        raise invalid(f"the body is not a JSON object: {error}") from None
    rows = [{"name": info.name, "version": VERSION, "state": "READY"} for info in service.models()]
    if not only_ready:
        rows += [{"name": name, "state": "LOADING", "reason": ""} for name in sorted(service.loading)]
        failed = "it could not be loaded when the server started"
        rows += [{"name": name, "state": "UNAVAILABLE", "reason": failed} for name in sorted(service.failed)]
    return _json(rows)


async def _infer(service: Service, request: Request) -> Response:
    body = await read_body(request, service.max_body_bytes, any_type=True)
    length = request.headers.get(_HEADER)
    if length is not None and not (length.isascii() and length.isdigit() and int(length[:12]) <= len(body)):
        raise invalid(f"Inference-Header-Content-Length is {length[:32]!r}: the body has {len(body)} bytes")
    size = len(body) if length is None else int(length)
    wanted = decode(_decoder, body[:size])
    model = _found(service, request)
    tensors = _tensors(model.info)
    own, timeout = split_parameters(tensors, wanted.parameters)
    texts = read_texts(wanted, memoryview(body)[size:], tensors.inputs)
    with DisconnectWatch(request):
        values = await tensors.run(model, texts, own, timeout)
    outputs = {
        spec.name: (spec, value) for spec, value in zip(tensors.outputs(model.info), values, strict=True)
    }
    head = {"model_name": model.name, "model_version": VERSION}
    if wanted.id is not None:
        head["id"] = wanted.id
    answer, json_size = write_outputs(head, wanted, outputs)
    if json_size is None:
        return Answer(answer)
    headers = [(_HEADER.encode(), b"%d" % json_size)]
    return Answer(answer, content_type=b"application/octet-stream", headers=headers)


_MODEL = "/v2/models/{name}"
_VERSION = _MODEL + "/versions/{version}"
# (method, path) -> what answers, and what the description says of it.
ROUTES: dict[tuple[str, str], tuple[Handler, str]] = {
    ("GET", "/v2"): (_server, "Server metadata"),
    ("GET", "/v2/health/live"): (_live, "200 while the process runs"),
    ("GET", "/v2/health/ready"): (_ready, "200 when requests are welcome"),
    ("GET", "/v2/models/stats"): (_statistics, "Statistics of every model"),
    ("POST", "/v2/repository/index"): (_index, "Every model and its state"),
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
