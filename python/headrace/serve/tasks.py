"""The routes of the tasks but embed: what each one's body holds, the job it asks for, and how its answer is written.

All of them are one endpoint. Reading the body, finding the model, running the job under the queue's rules and
stopping when the client leaves are the same for each; a route is a struct and two functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..attributions.explanation import MAX_REQUEST, MAX_REQUEST_IMAGES
from ..attributions.jobs import ExplainImagesJob, ExplainJob, ExplainTextsJob
from ..results import Answer as TaskAnswer
from ..results import Candidate, Entity
from ..tasks.answer import MAX_ANSWER_TOKENS, AnswerJob
from ..tasks.answer import MAX_TOP_K as MAX_ANSWERS
from ..tasks.classify import ClassifyJob
from ..tasks.fill_mask import MAX_TOP_K as MAX_CANDIDATES
from ..tasks.fill_mask import FillMaskJob
from ..tasks.images import ClassifyImagesJob
from ..tasks.job import Job
from ..tasks.rerank import RerankJob
from ..tasks.tag import Aggregation, TagJob
from .answer import Answer
from .embeddings import find_model
from .errors import invalid
from .explaining import ExplainOptions, options_of, written
from .images import images_of
from .requests import MAX_INPUTS, Name, decode_masked, read_body, read_body_or_form
from .service import DisconnectWatch, Endpoint, Service

if TYPE_CHECKING:
    from .._core import Ticket

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode

MAX_STRIDE = 8192
_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Texts = Annotated[list[_Text], msgspec.Meta(min_length=1, max_length=MAX_INPUTS)]
_Pairs = Annotated[list[tuple[_Text, _Text]], msgspec.Meta(min_length=1, max_length=MAX_INPUTS)]
_Stride = Annotated[int, msgspec.Meta(ge=0, le=MAX_STRIDE)]


class TaskRequest(msgspec.Struct, Generic[T], forbid_unknown_fields=True, kw_only=True):
    """What the body of a task's route holds; `job` is what it asks for and `data` what is answered."""

    model: Name
    user: str | None = None

    def job(self) -> Job[T]:
        raise NotImplementedError

    def data(self, job: Job[T], results: list[T]) -> dict[str, Any]:
        raise NotImplementedError


def _listed(kind: str, field: str, results: Sequence[object]) -> dict[str, Any]:
    return {
        "object": "list",
        "data": [{"object": kind, "index": i, field: result} for i, result in enumerate(results)],
    }


class ClassifyRequest(TaskRequest[Any]):
    """POST /v1/classify: lists of labels, or with `explain` the scores of all evaluations, which ExplainJob reads."""

    input: str | list[Any] | msgspec.UnsetType = msgspec.UNSET
    top_k: Annotated[int, msgspec.Meta(ge=1, le=1 << 16)] | None = None
    truncate: bool = False
    images: str | list[str] | msgspec.UnsetType = msgspec.UNSET
    explain: bool | ExplainOptions = False

    def job(self) -> Job[Any]:
        options = options_of(self.explain)
        if options is not None and options.baseline is not None:
            raise invalid("explain.baseline: is for /v1/predict", param="explain")
        pictures = images_of(self.images, self.input)
        if pictures is not None:
            if options is not None:
                return ExplainImagesJob(pictures, options, most=MAX_REQUEST_IMAGES)
            return ClassifyImagesJob(pictures, top_k=self.top_k)
        if isinstance(self.input, msgspec.UnsetType):
            raise invalid("input is missing", param="input")
        texts = _texts_or_pairs(self.input)
        if options is not None:
            return ExplainTextsJob(texts, options, truncate=self.truncate, most=MAX_REQUEST)
        return ClassifyJob(texts, top_k=self.top_k, truncate=self.truncate)

    def data(self, job: Job[Any], results: list[Any]) -> dict[str, Any]:
        if not isinstance(job, ExplainJob):
            return _listed("classification", "labels", results)
        answer = _listed("classification", "labels", job.labels(results, self.top_k))
        for row, explanation in zip(answer["data"], job.explanations(results), strict=True):
            row["explanation"] = written(explanation)
        return answer


def _texts_or_pairs(value: str | list[Any]) -> Any:
    """Texts, or lists of two texts as pairs; msgspec knows no union of two kinds of list."""
    if isinstance(value, str):
        return value
    kind = _Pairs if value and isinstance(value[0], list) else _Texts
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        raise invalid(
            f"input{path.rstrip('`')}: {what}; give a text, texts, or pairs of texts", param="input"
        ) from None


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    text: _Text


_Documents = Annotated[list[_Text | _Document], msgspec.Meta(min_length=1, max_length=MAX_INPUTS)]


class RerankRequest(TaskRequest[float]):
    """POST /v1/rerank, in the shape of Cohere's and Jina's."""

    query: _Text
    documents: _Documents
    top_n: Annotated[int, msgspec.Meta(ge=1, le=MAX_INPUTS)] | None = None
    return_documents: bool = False
    truncate: bool = False

    def job(self) -> RerankJob:
        texts = [item if isinstance(item, str) else item.text for item in self.documents]
        return RerankJob(self.query, texts, top_n=self.top_n, truncate=self.truncate)

    def data(self, job: Job[float], results: list[float]) -> dict[str, Any]:
        assert isinstance(job, RerankJob)
        rows: list[dict[str, Any]] = []
        for ranked in job.ranked(results):
            rows.append({"index": ranked.index, "relevance_score": ranked.score})
            if self.return_documents:
                rows[-1]["document"] = {"text": ranked.document}
        return {"object": "list", "results": rows}


class TagRequest(TaskRequest[list[Entity]]):
    """POST /v1/tag."""

    input: _Text | _Texts
    aggregation: Aggregation = "simple"
    stride: _Stride | None = None
    ignore_labels: Annotated[list[str], msgspec.Meta(max_length=1000)] | None = None  # None: ["O"]

    def job(self) -> TagJob:
        ignored = ["O"] if self.ignore_labels is None else self.ignore_labels
        return TagJob(self.input, aggregation=self.aggregation, stride=self.stride, ignore_labels=ignored)

    def data(self, job: Job[list[Entity]], results: list[list[Entity]]) -> dict[str, Any]:
        return _listed("tags", "entities", results)


class AnswerRequest(TaskRequest[TaskAnswer]):
    """POST /v1/answer."""

    question: _Text
    context: _Text
    top_k: Annotated[int, msgspec.Meta(ge=1, le=MAX_ANSWERS)] = 1
    max_answer_tokens: Annotated[int, msgspec.Meta(ge=1, le=MAX_ANSWER_TOKENS)] = 15
    window: Annotated[int, msgspec.Meta(ge=8, le=MAX_STRIDE)] | None = None
    stride: _Stride | None = None
    allow_no_answer: bool = False

    def job(self) -> AnswerJob:
        return AnswerJob(
            self.question,
            self.context,
            top_k=self.top_k,
            max_answer_tokens=self.max_answer_tokens,
            window=self.window,
            stride=self.stride,
            allow_no_answer=self.allow_no_answer,
        )

    def data(self, job: Job[TaskAnswer], results: list[TaskAnswer]) -> dict[str, Any]:
        [result] = results
        return {
            "object": "answer",
            "best": result.best,
            "answers": result.spans,
            "no_answer_score": result.no_answer_score,
        }


class FillMaskRequest(TaskRequest[list[list[Candidate]]]):
    """POST /v1/fill-mask."""

    input: _Text
    top_k: Annotated[int, msgspec.Meta(ge=1, le=MAX_CANDIDATES)] = 5
    truncate: bool = False

    def job(self) -> FillMaskJob:
        return FillMaskJob(self.input, top_k=self.top_k, truncate=self.truncate)

    def data(self, job: Job[list[list[Candidate]]], results: list[list[list[Candidate]]]) -> dict[str, Any]:
        [places] = results
        return _listed("mask", "candidates", places)


ROUTES: dict[str, type[TaskRequest[Any]]] = {
    "/v1/classify": ClassifyRequest,
    "/v1/rerank": RerankRequest,
    "/v1/tag": TagRequest,
    "/v1/answer": AnswerRequest,
    "/v1/fill-mask": FillMaskRequest,
}


def task_endpoint(service: Service, route: str) -> Endpoint:
    """The endpoint of one of ROUTES."""
    decoder = msgspec.json.Decoder(ROUTES[route])
    read = read_body_or_form if route == "/v1/classify" else read_body

    @service.endpoint(route)
    async def run_task(request: Request) -> Response:
        wanted = await decode_masked(decoder, await read(request, service.max_body_bytes))
        job = wanted.job()
        with DisconnectWatch(request):
            model = await find_model(service, wanted.model)
            results, ticket = await model._arun_request(job)
        body = wanted.data(job, results)
        return Answer(_encode({**body, "model": wanted.model, "usage": _usage(wanted, ticket)}))

    return run_task


def _usage(wanted: TaskRequest[Any], ticket: Ticket) -> dict[str, int]:
    usage = {"prompt_tokens": ticket.tokens, "total_tokens": ticket.tokens}
    if getattr(wanted, "truncate", False):
        usage["truncated_inputs"] = ticket.truncated
    return usage
