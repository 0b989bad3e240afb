"""The routes of text-embeddings-inference, and `POST /` as huggingface_hub calls it.

They name no model: a server of one model of the kind answers for it, and of several a body says which (`model`, a field
of ours). Fields that are not kept are refused. Source: https://huggingface.github.io/text-embeddings-inference.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from .. import _core
from ..tasks.classify import ClassifyJob
from ..tasks.rerank import RerankJob
from .answer import Answer
from .embeddings import find_model
from .errors import HttpError, invalid
from .masking import mask_texts
from .requests import MAX_INPUTS, Name, decode_masked, read_body
from .service import DisconnectWatch, Endpoint, Service

if TYPE_CHECKING:
    from ..loaded_model import Model

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Texts = Annotated[list[_Text], msgspec.Meta(min_length=1, max_length=MAX_INPUTS)]
_encode = msgspec.json.Encoder().encode
_VECTOR = re.compile(rb"\[[^\[\]{}]*\]")
_ERROR_TYPES = {404: "Validation", 429: "Overloaded", 503: "Unhealthy"}


class TeiRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a body may hold besides its task's own fields."""

    tasks: ClassVar[tuple[str, ...]] = ()  # of models that can answer; the first that some model has
    model: Name | None = None

    async def answer(self, model: Model) -> Any:
        """What is written as JSON, or bytes that are JSON already."""
        raise NotImplementedError


class _Truncating(TeiRequest, kw_only=True):
    truncate: bool | None = None
    truncation_direction: str = "Right"

    def cuts(self) -> bool:
        """Whether texts that are too long are cut; HttpError 400 for the left side."""
        if self.truncation_direction.lower() != "right":
            raise invalid(
                f"truncation_direction={self.truncation_direction[:16]!r}: texts are cut on the right only",
                param="truncation_direction",
            )
        return bool(self.truncate)


class EmbedRequest(_Truncating, kw_only=True):
    """POST /embed: a vector for each text, at length 1 unless `normalize` is false."""

    tasks: ClassVar = ("embed",)
    inputs: _Text | _Texts
    normalize: bool | None = True
    prompt_name: str | None = None
    dimensions: int | None = None
    encoding_format: str | None = None

    async def answer(self, model: Model) -> bytes:
        if self.encoding_format not in (None, "float"):
            raise invalid("encoding_format must be 'float'", param="encoding_format")
        if self.normalize is False and model.info.normalized:
            raise invalid("normalize=false: this model's own vectors have the length 1", param="normalize")
        texts = [self.inputs] if isinstance(self.inputs, str) else self.inputs
        result = await model.aembed_result(
            texts, prompt_name=self.prompt_name, dimensions=self.dimensions, truncate=self.cuts()
        )
        vectors = result.vectors
        if self.normalize is not False and not model.info.normalized:
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return await asyncio.to_thread(_rows, vectors)


def _rows(vectors: Any) -> bytes:
    """The vectors as the core writes numbers, without what stands around them in OpenAI's answer."""
    objects = _core.embedding_objects_json(np.ascontiguousarray(vectors, dtype=np.float32), False)
    return b"[" + b",".join(_VECTOR.findall(objects)) + b"]"


class _Sentences(msgspec.Struct, forbid_unknown_fields=True):
    source_sentence: _Text
    sentences: _Texts


class SimilarityRequest(TeiRequest, kw_only=True):
    """POST /similarity: how like each sentence is to the first, by the model's own measure."""

    tasks: ClassVar = ("embed",)
    inputs: _Sentences

    async def answer(self, model: Model) -> list[float]:
        result = await model.aembed_result([self.inputs.source_sentence, *self.inputs.sentences])
        return [float(value) for value in model.similarity(result.vectors[:1], result.vectors[1:])[0]]


class RerankRequest(_Truncating, kw_only=True):
    """POST /rerank: documents from the most to the least relevant."""

    tasks: ClassVar = ("rerank",)
    query: _Text
    texts: _Texts
    raw_scores: bool = False
    return_text: bool = False

    async def answer(self, model: Model) -> list[dict[str, Any]]:
        _refuse_raw(self.raw_scores, model)
        job = RerankJob(self.query, self.texts, truncate=self.cuts())
        results, _ = await model._arun_request(job)
        rows: list[dict[str, Any]] = []
        for ranked in job.ranked(results):
            rows.append({"index": ranked.index, "score": ranked.score})
            if self.return_text:
                rows[-1]["text"] = ranked.document
        return rows


class PredictRequest(_Truncating, kw_only=True):
    """POST /predict: the labels of a text, of a pair, or of several of them, best first."""

    tasks: ClassVar = ("classify",)
    inputs: str | list[Any]
    raw_scores: bool = False

    async def answer(self, model: Model) -> Any:
        _refuse_raw(self.raw_scores, model)
        inputs = self.inputs
        # As there: a list of two texts is one pair, a list of lists several inputs.
        is_one = isinstance(inputs, str) or (
            len(inputs) == 2 and all(isinstance(item, str) for item in inputs)
        )
        items = [inputs] if is_one else list(inputs)
        items = [item[0] if isinstance(item, list) and len(item) == 1 else item for item in items]
        pairs = bool(items) and isinstance(items[0], list)
        try:
            checked: Any = msgspec.convert(items, list[tuple[_Text, _Text]] if pairs else _Texts)
        except msgspec.ValidationError as error:
            raise invalid(
                f"inputs: {error}; give a text, a pair of texts, or lists of them", param="inputs"
            ) from None
        results, _ = await model._arun_request(ClassifyJob(checked, truncate=self.cuts()))
        return results[0] if is_one else results


def _refuse_raw(wanted: bool, model: Model) -> None:
    if wanted and model.info.activation != "identity":
        raise invalid("raw_scores=true: scores are given as the model's files say", param="raw_scores")


class TokenizeRequest(TeiRequest, kw_only=True):
    """POST /tokenize."""

    inputs: _Text | _Texts
    add_special_tokens: bool = True

    async def answer(self, model: Model) -> list[list[dict[str, Any]]]:
        texts = [self.inputs] if isinstance(self.inputs, str) else self.inputs
        return [await asyncio.to_thread(self._tokens, model, text) for text in texts]

    def _tokens(self, model: Model, text: str) -> list[dict[str, Any]]:
        found = model.tokenizer.encode(text, add_special_tokens=self.add_special_tokens)
        rows = zip(found.ids, found.tokens, found.offsets, found.special_tokens_mask, strict=True)
        return [
            {
                "id": identity,
                "text": token if special else text[start:stop],
                "special": bool(special),
                "start": None if special else start,
                "stop": None if special else stop,
            }
            for identity, token, (start, stop), special in rows
        ]


_Ids = Annotated[
    list[Annotated[int, msgspec.Meta(ge=0, lt=2**31)]], msgspec.Meta(min_length=1, max_length=1 << 20)
]


class DecodeRequest(TeiRequest, kw_only=True):
    """POST /decode."""

    ids: list[Any]
    skip_special_tokens: bool = True

    async def answer(self, model: Model) -> list[str]:
        given = self.ids if self.ids and isinstance(self.ids[0], list) else [self.ids]
        try:
            rows = msgspec.convert(given, Annotated[list[_Ids], msgspec.Meta(max_length=MAX_INPUTS)])
        except msgspec.ValidationError as error:
            raise invalid(f"ids: {error}; give token ids, or lists of them", param="ids") from None
        texts = [model.tokenizer.decode(row, skip_special_tokens=self.skip_special_tokens) for row in rows]
        return await mask_texts(texts)


ROUTES: dict[str, tuple[type[TeiRequest], str]] = {
    "/embed": (EmbedRequest, "Embed texts"),
    "/similarity": (SimilarityRequest, "Compare sentences with one"),
    "/rerank": (RerankRequest, "Rank texts for a query"),
    "/predict": (PredictRequest, "Classify texts"),
    "/tokenize": (TokenizeRequest, "Texts to tokens"),
    "/decode": (DecodeRequest, "Tokens to texts"),
}
# What POST / is, by the task of the model that the server has.
_ROOT: dict[str, type[TeiRequest]] = {
    "embed": EmbedRequest,
    "classify": PredictRequest,
    "rerank": RerankRequest,
}


async def _chosen(service: Service, named: str | None, tasks: tuple[str, ...]) -> Model:
    """The model that a body names, or the only one whose task is among `tasks`; empty: of any task."""
    if named is not None:
        return await find_model(service, named)
    names = [info.name for info in service.models() if not tasks or info.task in tasks]
    if len(names) == 1:
        return await find_model(service, names[0])
    kind = f" that can {' or '.join(tasks)}" if tasks else ""
    if not names:
        raise HttpError(404, f"there is no model{kind} here", code="model_not_found", param="model")
    raise invalid(f"there are several models{kind}: name one of {', '.join(names)} as `model`", param="model")


def _error(status: int, message: str, code: str | None, param: str | None) -> dict[str, Any]:
    kind = _ERROR_TYPES.get(status, "Validation" if status < 500 else "Backend")
    return {"error": message, "error_type": kind}


def tei_endpoints(service: Service) -> dict[tuple[str, str], tuple[Endpoint, str]]:
    """(method, path) -> endpoint and summary."""

    def posted(kind: type[TeiRequest]) -> Endpoint:
        decoder = msgspec.json.Decoder(kind)

        async def run(request: Request) -> Response:
            wanted = await decode_masked(decoder, await read_body(request, service.max_body_bytes))
            model = await _chosen(service, wanted.model, wanted.tasks)
            with DisconnectWatch(request):
                answer = await wanted.answer(model)
            return Answer(answer if isinstance(answer, bytes) else _encode(answer))

        return run

    by_task = {task: posted(kind) for task, kind in _ROOT.items()}

    async def root(request: Request) -> Response:
        model = await _chosen(service, None, tuple(_ROOT))
        return await by_task[model.info.task](request)

    async def info(request: Request) -> Response:
        model = (await _chosen(service, request.query_params.get("model"), tuple(_ROOT))).info
        return Answer(
            _encode(
                {
                    "model_id": model.name,
                    "model_dtype": model.precision,
                    "model_type": {model.task: {"labels": model.labels} if model.labels else {}},
                    "max_input_length": model.max_tokens,
                    "max_client_batch_size": MAX_INPUTS,
                    "version": _core.__version__,
                }
            )
        )

    async def health(request: Request) -> Response:
        service.check_ready()
        return Answer(b"{}")

    found = {("POST", path): (posted(kind), text) for path, (kind, text) in ROUTES.items()}
    found["POST", "/"] = (root, "What the server's one model does")
    found["GET", "/info"] = (info, "What the server's one model is")
    found["GET", "/health"] = (health, "200 when requests are welcome")
    return {key: (service.endpoint(key[1], _error)(run), text) for key, (run, text) in found.items()}
