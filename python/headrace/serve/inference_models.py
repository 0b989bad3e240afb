"""What the Open Inference Protocol tells of models, and how it runs one, whichever transport asks: HTTP (inference.py)
or gRPC (grpc_server.py).

Specification: https://github.com/kserve/open-inference-protocol, and the extensions of the Triton Inference Server.
Every task is served as tensors (inference_tasks.py); docs/protocols.md lists them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from .. import _core
from . import inference_images
from .embeddings import find_model, loaded_model
from .errors import HttpError
from .inference_tasks import PREDICT, TASKS, Parameters, TaskTensors, mask_items, split_parameters
from .inference_tensors import InferRequest, Output, Spec, read_inputs
from .masking import mask_texts, mask_values
from .pipelines import find_pipeline
from .service import Service

if TYPE_CHECKING:
    from ..loaded_model import Model, ModelInfo
    from ..pipeline import Pipeline
    from ..predict.work import Work

_REASONS = {
    "loading": "",
    "unloaded": "not in memory: the next request loads it",
    "failed": "it could not be loaded; the server's log says why",
}
EXTENSIONS = ["binary_tensor_data", "model_configuration", "statistics", "model_repository"]


async def found(service: Service, name: str, version: str) -> Model | Pipeline:
    """The model or pipeline of that name, in the one version that there is; an empty version is any."""
    model = find_pipeline(service, name) or await find_model(service, name)
    check_version(model.info, version)
    return model


async def described(service: Service, name: str, version: str) -> ModelInfo:
    """What a model is, which is known without loading it once it was in memory."""
    loaded = find_pipeline(service, name) or loaded_model(service, name)
    info = _remembered(service, name) if loaded is None else loaded.info
    if info is None:
        info = (await find_model(service, name)).info
    check_version(info, version)
    return info


def check_served(service: Service, name: str, version: str) -> None:
    """Raises what `found` raises, but for what only loading tells: a model that is not in memory can be asked."""
    loaded = find_pipeline(service, name) or loaded_model(service, name)
    info = _remembered(service, name) if loaded is None else loaded.info
    if info is not None:
        check_version(info, version)


def _remembered(service: Service, name: str) -> ModelInfo | None:
    name = service.engine.resolve(name)
    return next((each.info for each in service.engine.residences() if each.name == name), None)


def check_version(info: ModelInfo, version: str) -> None:
    if version not in ("", info.version):
        raise HttpError(
            404, f"model {info.name!r} has no version {version[:32]!r}: there is {info.version!r}"
        )


def tensors_of(info: ModelInfo) -> TaskTensors:
    return TASKS[info.task]


def server_metadata() -> dict[str, Any]:
    return {"name": "headrace", "version": _core.__version__, "extensions": EXTENSIONS}


def _inputs(info: ModelInfo) -> tuple[Spec, ...]:
    """Of a model that reads and sees, what either takes: a request has one of them."""
    texts = tensors_of(info).inputs_of(info) if "text" in info.modalities else ()
    return (*texts, *inference_images.specs(info))


def metadata(info: ModelInfo) -> dict[str, Any]:
    tensors = tensors_of(info)
    return {
        "name": info.name,
        "versions": [info.version],
        "platform": f"headrace_{info.task}",
        "inputs": [spec.described() for spec in _inputs(info)],
        "outputs": [spec.described() for spec in tensors.outputs(info)],
    }


def config(info: ModelInfo) -> dict[str, Any]:
    """What of Triton's model configuration there is to say."""
    tensors = tensors_of(info)

    def shown(spec: Spec) -> dict[str, Any]:
        kind = "STRING" if spec.datatype == "BYTES" else spec.datatype
        return {"name": spec.name, "data_type": f"TYPE_{kind}", "dims": list(spec.shape)}

    return {
        "name": info.name,
        "platform": f"headrace_{info.task}",
        "backend": "headrace",
        "max_batch_size": 0,  # the first dimension is written out, and batches are the engine's own affair
        "input": [shown(spec) for spec in _inputs(info)],
        "output": [shown(spec) for spec in tensors.outputs(info)],
        "version_policy": {"specific": {"versions": [int(info.version)]}},
        "parameters": {
            "task": {"string_value": info.task},
            "precision": {"string_value": info.precision},
        },
    }


def statistics(service: Service, models: list[ModelInfo]) -> dict[str, Any]:
    """The engine's own counters, in nanoseconds where the protocol wants times."""
    stats = service.engine.stats()
    return {"model_stats": [_counted(info, stats) for info in models]}


def _counted(info: ModelInfo, stats: dict[str, Any]) -> dict[str, Any]:
    encoder = stats["models"].get(info.name)
    values = encoder or stats["language_models"].get(info.name, {})
    failed = sum(values.get(kind, 0) for kind in ("refused", "expired", "cancelled", "failed"))

    def duration(count: int, seconds: float) -> dict[str, int]:
        return {"count": count, "ns": int(seconds * 1e9)}

    if encoder:
        answered = sum(encoder["compute_seconds"]["counts"])
        waited = duration(sum(encoder["queue_seconds"]["counts"]), encoder["queue_seconds"]["sum"])
        computed = duration(answered, encoder["compute_seconds"]["sum"])
    else:  # a language model's texts begin at the next step and share every one
        answered = values.get("requests", 0)
        waited, computed = duration(answered, 0), duration(answered, values.get("step_seconds", 0.0))
    nothing = duration(answered, 0)  # clients want the three counts of computing to be one
    return {
        "name": info.name,
        "version": info.version,
        "last_inference": 0,
        "inference_count": values.get("sequences", answered),
        "execution_count": values.get("batches", values.get("steps", 0)),
        "inference_stats": {
            "success": {"count": answered, "ns": waited["ns"] + computed["ns"]},
            "fail": {"count": failed, "ns": 0},
            "queue": waited,
            "compute_input": nothing,
            "compute_infer": computed,
            "compute_output": nothing,
            "cache_hit": {"count": 0, "ns": 0},
            "cache_miss": {"count": 0, "ns": 0},
        },
        "batch_stats": [],
    }


def index(service: Service, only_ready: bool) -> list[dict[str, Any]]:
    """Every model that is served, is being loaded, or could not be."""
    listed = service.listed()
    states = {each.name: each.state for each in service.engine.residences()}
    rows: list[dict[str, Any]] = []
    for each in listed:
        row = {"name": each.name, "version": "" if each.info is None else each.info.version, "state": "READY"}
        state = states.get(each.name, "ready")
        if state != "ready":
            row |= {"state": "LOADING" if state == "loading" else "UNAVAILABLE", "reason": _REASONS[state]}
            if only_ready:
                continue
        rows.append(row)
    for each in listed:
        candidate = service.engine.candidate(each.name)
        if candidate is not None:
            what = "the requests" if candidate.shadow is None else "copies of the requests"
            reason = f"on trial, with {candidate.share:.1%} of {what}"
            row = {
                "name": each.name,
                "version": candidate.model.info.version,
                "state": "READY",
                "reason": reason,
            }
            rows.append(row)
    if not only_ready:
        loading, failed = service.visible(service.loading), service.visible(service.failed)
        rows += [{"name": name, "state": "LOADING", "reason": ""} for name in loading]
        reason = "it could not be loaded when the server started"
        rows += [{"name": name, "state": "UNAVAILABLE", "reason": reason} for name in failed]
    return rows


def _terms(
    tensors: TaskTensors, request: InferRequest, timeout: float | None = None
) -> tuple[Parameters, float | None]:
    own, asked = split_parameters(tensors, request.parameters)
    return own, min((limit for limit in (timeout, asked) if limit is not None), default=None)


async def _given(info: ModelInfo, request: InferRequest, raw: memoryview) -> dict[str, Any]:
    """The request's tensors by name, texts masked where the server masks."""
    specs = tensors_of(info).inputs_of(info)
    found: dict[str, Any] = dict(read_inputs(request, raw, specs))
    for spec in specs:
        if spec.is_text and isinstance(found[spec.name], list):
            mask = mask_items if info.task == "predict" and not info.inputs else mask_texts
            found[spec.name] = await mask(found[spec.name])
    return found


def _by_name(info: ModelInfo, values: list[Output]) -> dict[str, tuple[Spec, Output]]:
    return {
        spec.name: (spec, value) for spec, value in zip(tensors_of(info).outputs(info), values, strict=True)
    }


async def infer(
    model: Model | Pipeline, request: InferRequest, raw: memoryview, timeout: float | None = None
) -> dict[str, tuple[Spec, Output]]:
    """Runs a request; the tensors by their names.

    Args:
        raw: the inputs that have a binary_data_size, one after the other.
        timeout: seconds; the request's own parameter may be shorter.
    """
    info = model.info
    tensors = tensors_of(info)
    own, shortest = _terms(tensors, request, timeout)
    if info.task not in ("predict", "pipeline") and inference_images.has_images(request):
        values = await inference_images.run(cast("Model", model), request, raw, own, shortest)
    else:
        values = await tensors.run(cast("Model", model), await _given(info, request, raw), own, shortest)
    return _by_name(info, values)


async def work_of(model: Model, request: InferRequest, raw: memoryview) -> tuple[Work, float | None]:
    """What `infer` would run of a function or a model of tensors, and its timeout in seconds."""
    _, timeout = _terms(PREDICT, request)
    return PREDICT.work(model, await _given(model.info, request, raw)), timeout


def outputs_of(model: Model, work: Work) -> dict[str, tuple[Spec, Output]]:
    """What `infer` would give, of work that is done."""
    return _by_name(model.info, PREDICT.values(model, PREDICT.found(model, work)))


async def masked_outputs_of(model: Model, work: Work) -> dict[str, tuple[Spec, Output]]:
    """The same, masked where the server masks."""
    return _by_name(model.info, PREDICT.values(model, await mask_values(PREDICT.found(model, work))))
