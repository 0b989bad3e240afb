"""The tasks as a client calls them: the steps of each, and the methods of Client and AsyncClient that run them."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from . import errors
from .inputs import as_texts
from .results import Answer, Candidate, Entity, Label, Ranked, Span

if TYPE_CHECKING:
    from .client import _Protocol, _Reply, _Send, _Sleep
    from .tasks.images import Images

    _Steps: TypeAlias = Generator[_Send | _Sleep, _Reply, Any]
else:
    _Protocol = object

Texts = str | Iterable[str] | Sequence[tuple[str, str]]


class TaskSteps(_Protocol):
    """Mixed into both clients. Lists of any length go in requests of bounded size."""

    def _post(self, path: str, body: dict[str, Any]) -> _Steps:
        from .client import _Send

        given = {key: value for key, value in body.items() if value is not None}
        try:
            content = json.dumps(given, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise errors.InvalidArgumentError(f"texts: must be valid Unicode: {error}") from None
        return json.loads((yield from self._exchange(_Send("POST", path, content))))

    def _each(self, path: str, items: Sequence[Any], **body: Any) -> _Steps:
        """The rows of `data` for all items."""
        from .client import _chunks

        rows: list[dict[str, Any]] = []
        for chunk in _chunks(items):
            answer = yield from self._post(path, {**body, "input": chunk})
            rows += answer["data"]
        return rows

    def _classify(self, texts: Texts | None, images: Images | None = None, **body: Any) -> _Steps:
        if images is not None:
            rows = yield from self._each_image(images, "/v1/classify", **body)
            return [[Label(**label) for label in row["labels"]] for row in rows]
        pairs = isinstance(texts, list) and bool(texts) and isinstance(texts[0], tuple)
        items: Any = texts if pairs else as_texts(texts)
        rows = yield from self._each("/v1/classify", items, **body)
        return [[Label(**label) for label in row["labels"]] for row in rows]

    def _rerank(
        self, query: str, documents: Iterable[str], top_n: int | None, truncate: bool, model: str
    ) -> _Steps:
        from .client import _chunks
        from .tasks.rerank import RerankJob

        job = RerankJob(query, documents, top_n=top_n, truncate=truncate)
        scores: list[float] = []
        for chunk in _chunks(job.items):
            body = {"model": model, "query": query, "documents": chunk, "truncate": truncate}
            answer = yield from self._post("/v1/rerank", body)
            by_index = {row["index"]: row["relevance_score"] for row in answer["results"]}
            scores += [by_index[i] for i in range(len(chunk))]
        return job.ranked(scores)

    def _tag(self, texts: str | Iterable[str], ignore_labels: Iterable[str], **body: Any) -> _Steps:
        ignored = [ignore_labels] if isinstance(ignore_labels, str) else list(ignore_labels)
        rows = yield from self._each("/v1/tag", as_texts(texts), ignore_labels=ignored, **body)
        return [[Entity(**entity) for entity in row["entities"]] for row in rows]

    def _answer(self, **body: Any) -> _Steps:
        told = yield from self._post("/v1/answer", body)
        spans = tuple(Span(**span) for span in told["answers"])
        best = None if told["best"] is None else Span(**told["best"])
        return Answer(best, spans, told["no_answer_score"])

    def _run_pipeline(self, texts: str | Iterable[str], pipeline: str) -> _Steps:
        from urllib.parse import quote

        from .client import _chunks

        rows: list[Any] = []
        for chunk in _chunks(as_texts(texts), 64):
            answer = yield from self._post(f"/v1/pipelines/{quote(pipeline, safe='')}", {"input": chunk})
            rows += [row["output"] for row in answer["data"]]
        return rows[0] if isinstance(texts, str) else rows

    def _fill_mask(self, text: str, **body: Any) -> _Steps:
        told = yield from self._post("/v1/fill-mask", {"input": text, **body})
        return [[Candidate(**candidate) for candidate in row["candidates"]] for row in told["data"]]


class TaskCalls(TaskSteps):
    """The methods of Client. Arguments, results and errors are those of the Model's methods of the same names."""

    if TYPE_CHECKING:

        def _run(self, steps: _Steps) -> Any: ...

    def run_pipeline(self, texts: str | Iterable[str], *, pipeline: str) -> Any:
        """What the last step of `pipeline` gives, as JSON has it: of one text, or a list with that of each."""
        return self._run(self._run_pipeline(texts, pipeline))

    def classify(
        self,
        texts: Texts | None = None,
        *,
        model: str,
        images: Images | None = None,
        top_k: int | None = None,
        truncate: bool = False,
    ) -> list[list[Label]]:
        """For each text, pair of texts or picture the labels of `model`, best first."""
        return self._run(self._classify(texts, images, model=model, top_k=top_k, truncate=truncate))  # type: ignore[no-any-return]

    def rerank(
        self,
        query: str,
        documents: Iterable[str],
        *,
        model: str,
        top_n: int | None = None,
        truncate: bool = False,
    ) -> list[Ranked]:
        """The documents in the order of how well they answer the query."""
        return self._run(self._rerank(query, documents, top_n, truncate, model))  # type: ignore[no-any-return]

    def tag(
        self,
        texts: str | Iterable[str],
        *,
        model: str,
        aggregation: str = "simple",
        stride: int | None = None,
        ignore_labels: Iterable[str] = ("O",),
    ) -> list[list[Entity]]:
        """The entities in each text."""
        return self._run(  # type: ignore[no-any-return]
            self._tag(texts, ignore_labels, model=model, aggregation=aggregation, stride=stride)
        )

    def answer(
        self,
        question: str,
        context: str,
        *,
        model: str,
        top_k: int = 1,
        max_answer_tokens: int = 15,
        window: int | None = None,
        stride: int | None = None,
        allow_no_answer: bool = False,
    ) -> Answer:
        """The place in `context` that answers `question`."""
        return self._run(  # type: ignore[no-any-return]
            self._answer(
                question=question,
                context=context,
                model=model,
                top_k=top_k,
                max_answer_tokens=max_answer_tokens,
                window=window,
                stride=stride,
                allow_no_answer=allow_no_answer,
            )
        )

    def fill_mask(
        self, text: str, *, model: str, top_k: int = 5, truncate: bool = False
    ) -> list[list[Candidate]]:
        """For each masked place of the text the tokens that fit it, best first."""
        return self._run(self._fill_mask(text, model=model, top_k=top_k, truncate=truncate))  # type: ignore[no-any-return]


class AsyncTaskCalls(TaskSteps):
    """The same, awaited."""

    if TYPE_CHECKING:

        async def _run(self, steps: _Steps) -> Any: ...

    async def run_pipeline(self, texts: str | Iterable[str], *, pipeline: str) -> Any:
        """As Client.run_pipeline."""
        return await self._run(self._run_pipeline(texts, pipeline))

    async def classify(
        self,
        texts: Texts | None = None,
        *,
        model: str,
        images: Images | None = None,
        top_k: int | None = None,
        truncate: bool = False,
    ) -> list[list[Label]]:
        """As Client.classify."""
        return await self._run(self._classify(texts, images, model=model, top_k=top_k, truncate=truncate))  # type: ignore[no-any-return]

    async def rerank(
        self,
        query: str,
        documents: Iterable[str],
        *,
        model: str,
        top_n: int | None = None,
        truncate: bool = False,
    ) -> list[Ranked]:
        """As Client.rerank."""
        return await self._run(self._rerank(query, documents, top_n, truncate, model))  # type: ignore[no-any-return]

    async def tag(
        self,
        texts: str | Iterable[str],
        *,
        model: str,
        aggregation: str = "simple",
        stride: int | None = None,
        ignore_labels: Iterable[str] = ("O",),
    ) -> list[list[Entity]]:
        """As Client.tag."""
        return await self._run(  # type: ignore[no-any-return]
            self._tag(texts, ignore_labels, model=model, aggregation=aggregation, stride=stride)
        )

    async def answer(
        self,
        question: str,
        context: str,
        *,
        model: str,
        top_k: int = 1,
        max_answer_tokens: int = 15,
        window: int | None = None,
        stride: int | None = None,
        allow_no_answer: bool = False,
    ) -> Answer:
        """As Client.answer."""
        return await self._run(  # type: ignore[no-any-return]
            self._answer(
                question=question,
                context=context,
                model=model,
                top_k=top_k,
                max_answer_tokens=max_answer_tokens,
                window=window,
                stride=stride,
                allow_no_answer=allow_no_answer,
            )
        )

    async def fill_mask(
        self, text: str, *, model: str, top_k: int = 5, truncate: bool = False
    ) -> list[list[Candidate]]:
        """As Client.fill_mask."""
        return await self._run(self._fill_mask(text, model=model, top_k=top_k, truncate=truncate))  # type: ignore[no-any-return]
