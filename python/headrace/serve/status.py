"""GET /v1/status: the state of the server in numbers that cost next to nothing, for pages that ask every second.

Counts grow from the start, so whoever asks makes rates of two answers' differences.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from .. import _core
from .access import Call, current_call
from .answer import Answer
from .embeddings import ROUTE as EMBEDDINGS
from .language import LANGUAGE_ENDPOINTS
from .pipelines import ROUTE as PIPELINES
from .service import Endpoint, Service
from .tasks import ROUTES as TASKS
from .tei import ROUTES as TEI

if TYPE_CHECKING:
    from ..loaded_model import ModelInfo
    from ..pipeline import Pipeline
    from ..residency import Residence

ROUTE = "/v1/status"
NO_STORE = ((b"cache-control", b"no-store"),)
# Routes that run a model: what is asked about the server does not count as work.
_WORK = frozenset(
    {
        *(EMBEDDINGS, PIPELINES, *TASKS, *LANGUAGE_ENDPOINTS, "/", *TEI),
        *("/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer"),
        *("inference.GRPCInferenceService/ModelInfer", "inference.GRPCInferenceService/ModelStreamInfer"),
    }
)
_encode = msgspec.json.Encoder().encode


def status_endpoint(service: Service) -> Endpoint:
    """GET /v1/status."""

    @service.endpoint(ROUTE)
    async def get_status(request: Request) -> Response:
        call = current_call()
        if call is not None:
            call.need("metrics")
        return Answer(_encode(_status(service, call)), headers=NO_STORE)

    return get_status


def _status(service: Service, call: Call | None) -> dict[str, Any]:
    stats = service.engine.stats()
    rows: list[dict[str, Any]] = []
    residences = {each.name: each for each in service.engine.residences()}
    adapters = [info for info in service.engine.models() if info.name not in residences]
    listed = [*((each.name, each.info) for each in residences.values()), *((i.name, i) for i in adapters)]
    for name, info in listed:
        residence = residences.get(name)
        row = {"id": name, "may": _may(name, call)} if info is None else _served(name, info, stats, call)
        rows.append({**row, **({"state": "ready"} if residence is None else _memory(residence))})
        candidate = service.engine.candidate(name)
        if candidate is not None:
            trial = candidate.model.info
            row = _served(f"{name}@{trial.version}", trial, stats, call)
            told = {"state": "trial", "share": candidate.share, "may": _may(name, call)}
            if candidate.shadow is not None:
                told |= {"state": "shadow", "compared": _compared(stats["shadows"][name])}
            rows.append({**row, **told})
    rows += [_pipeline(one, call) for one in list(service.engine.pipelines.values())]
    for state, names in (("loading", service.loading), ("failed", service.failed)):
        rows += [{"id": name, "state": state, "may": _may(name, call)} for name in sorted(names)]
    access = service.access
    return {
        "object": "status",
        "time": time.time(),
        "version": _core.__version__,
        "state": "draining" if service.draining else "loading" if service.loading else "ready",
        # Whether requests need a key, and whether keys are made and ended here.
        "keys": {
            "required": access is not None and access.asks,
            "kept": access is not None and access.ring is not None,
        },
        "key": _asking(call),
        "memory": {"budget": service.engine.memory_budget, "used": service.engine.memory_used},
        "http": service.metrics.totals(_WORK),
        "models": rows,
    }


def _asking(call: Call | None) -> dict[str, Any] | None:
    """Who asks; None without a key."""
    if call is None or not call.principal.id:
        return None
    who = call.principal
    return {"id": who.id, "name": who.name, "tenant": who.tenant, "scopes": sorted(who.scopes)}


def _may(name: str, call: Call | None) -> list[str]:
    """What the key may do with the model."""
    if call is None:
        return ["infer"]
    return [verb for verb in ("infer", "manage") if call.principal.allows(verb, name)]


def _served(name: str, info: ModelInfo, stats: dict[str, Any], call: Call | None) -> dict[str, Any]:
    """A model as it is counted under `name`."""
    encoder = stats["models"].get(name, {})
    language = stats["language_models"].get(name, {})
    found = encoder or language
    read = _sum(language, ("prompt_tokens", "generated_tokens"))
    return {
        "id": name,
        "version": info.version,
        "task": info.task,
        **({} if info.base is None else {"base": info.base}),
        "architecture": info.architecture,
        "precision": info.precision,
        "parameters": info.parameters,
        "dimensions": info.dimensions,
        "max_tokens": info.max_tokens,
        "may": _may(name, call),
        "requests": found.get("requests", 0),
        "tokens": encoder.get("tokens", read),
        "queued_tokens": found.get("queued_tokens", 0),
        "not_answered": _sum(found, ("refused", "expired", "cancelled", "failed")),
        "drift": stats["drift"].get(name),
    }


def _pipeline(pipeline: Pipeline, call: Call | None) -> dict[str, Any]:
    return {
        "id": pipeline.name,
        "state": "ready",
        "version": pipeline.info.version,
        "task": "pipeline",
        "architecture": pipeline.info.architecture,
        "bytes": pipeline.info.bytes,
        "may": _may(pipeline.name, call),
        "requests": pipeline.requests,
        "not_answered": pipeline.failed,
    }


def _compared(stats: dict[str, Any]) -> dict[str, Any]:
    """A shadow's answers beside those that clients got."""
    counts = {name: stats[name] for name in ("copies", "compared", "agreed", "dropped", "failed")}
    of_each = max(1, stats["copies"])
    return {
        **counts,
        "mean_cosine": stats["mean_cosine"],
        "min_cosine": stats["min_cosine"],
        "served_seconds": stats["served_seconds"] / of_each,
        "shadow_seconds": stats["shadow_seconds"] / of_each,
    }


def _memory(residence: Residence) -> dict[str, Any]:
    return {
        "state": residence.state,
        "bytes": residence.bytes,
        "pinned": residence.pinned,
        "last_used": residence.last_used,
        "loads": residence.loads,
        "unloads": residence.unloads,
    }


def _sum(values: dict[str, Any], names: Iterable[str]) -> int:
    return sum(values.get(name, 0) for name in names)
