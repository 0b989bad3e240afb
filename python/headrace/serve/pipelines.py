"""POST /v1/pipelines/{name}: texts through the steps of a pipeline (headrace/pipeline.py), by any protocol.

A pipeline is asked for by the scope infer of its own name; its steps' models need no scope of their own, since whoever
wrote the pipeline chose them.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..generation import Sampling
from ..pipeline import PipelineResult, RunTerms
from ..pipeline_steps import plain
from ..usage import Usage, current_usage
from .access import current_call, writing_terms
from .answer import Answer
from .embeddings import check_access
from .errors import HttpError, invalid
from .masking import mask_output
from .requests import decode_masked, read_body
from .service import DisconnectWatch, Endpoint, Service

if TYPE_CHECKING:
    from ..pipeline import Pipeline

ROUTE = "/v1/pipelines/{name}"
MAX_TEXTS = 64  # a request; each may run every step
_Text = Annotated[str, msgspec.Meta(min_length=1)]
_encode = msgspec.json.Encoder().encode


class PipelineRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body. `steps` asks for what each step gave; `timeout` is in seconds, for each text."""

    input: _Text | Annotated[list[_Text], msgspec.Meta(min_length=1, max_length=MAX_TEXTS)]
    steps: bool = False
    timeout: Annotated[float, msgspec.Meta(gt=0, le=3600)] | None = None
    user: str | None = None


_decoder = msgspec.json.Decoder(PipelineRequest)


def find_pipeline(service: Service, name: str) -> Pipeline | None:
    """The pipeline of that name; None where there is none, so that it may be a model's. HttpError as `find_model`."""
    name = service.engine.resolve(name)
    found = service.engine.pipelines.get(name)
    if found is not None:
        check_access(service, name)
    return found


async def run_texts(
    pipeline: Pipeline, texts: list[str], timeout: float | None = None
) -> list[PipelineResult]:
    """Each text's own run, on the terms of the request under way."""
    if len(texts) > MAX_TEXTS:
        raise invalid(f"{len(texts)} texts: at most {MAX_TEXTS} a request", param="input")
    tenant = ""
    if pipeline.most_tokens is not None:
        tenant = writing_terms([Sampling(max_tokens=pipeline.most_tokens)] * len(texts)).tenant
    terms = RunTerms("interactive", "refuse", tenant, mask_output)
    runs = [asyncio.ensure_future(pipeline.arun(text, timeout=timeout, terms=terms)) for text in texts]
    try:
        return list(await asyncio.gather(*runs))
    finally:
        for run in runs:  # the others of one that failed, or of a client that left
            run.cancel()


def pipeline_endpoint(service: Service) -> Endpoint:
    """POST /v1/pipelines/{name}."""

    @service.endpoint(ROUTE)
    async def run_pipeline(request: Request) -> Response:
        wanted = await decode_masked(_decoder, await read_body(request, service.max_body_bytes))
        name = request.path_params["name"]
        pipeline = find_pipeline(service, name)
        if pipeline is None:
            call = current_call()
            if call is not None:
                call.use("infer", service.engine.resolve(name), is_known=service.knows(name))
            if name in service.loading or name in service.failed:
                check_access(service, name)
            known = ", ".join(service.visible(service.engine.pipelines)) or "none"
            raise HttpError(
                404, f"no pipeline is named {name[:128]!r}; there is: {known}", code="model_not_found"
            )
        texts = [wanted.input] if isinstance(wanted.input, str) else wanted.input
        usage = current_usage.get()
        if usage is None:
            current_usage.set(usage := Usage())  # of this request's own task
        before = usage.prompt_tokens, usage.generated_tokens
        with DisconnectWatch(request):
            results = await run_texts(pipeline, texts, wanted.timeout)
        read, written = usage.prompt_tokens - before[0], usage.generated_tokens - before[1]
        data = [_described(index, result, wanted.steps) for index, result in enumerate(results)]
        told = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        return Answer(
            _encode(
                {"object": "list", "created": int(time.time()), "model": name, "data": data, "usage": told}
            )
        )

    return run_pipeline


def _described(index: int, result: PipelineResult, with_steps: bool) -> dict[str, Any]:
    row = {"object": "pipeline_result", "index": index, "output": plain(result.output)}
    if with_steps:
        row["steps"] = [
            {
                "step": step.step,
                "model": step.model,
                "output": plain(step.output),
                "seconds": round(step.seconds, 6),
            }
            for step in result.steps
        ]
    return row
