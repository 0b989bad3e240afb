"""The kinds of steps that a pipeline may have: what each reads from headrace.toml, takes, gives and does."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, is_dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from .errors import CorruptFileError, InvalidArgumentError
from .generation import Sampling, Terms
from .results import Entity, Label, Ranked
from .search import VectorIndex
from .tasks.classify import ClassifyJob
from .tasks.rerank import RerankJob
from .tasks.tag import TagJob

if TYPE_CHECKING:
    from .pipeline import Run

MAX_TOP_K = 1000
MAX_WRITTEN_TOKENS = 1 << 16
_MAX_BYTES = 4 << 30


@dataclass(frozen=True)
class Routed:
    """What the model that a label chose has answered: `output` is a text for a model that writes one, else what its
    task gives."""

    label: str
    model: str
    output: Any


class Step(ABC):
    """One step. `models` are those that it asks, of one of the `tasks`; `max_tokens` what it may write at most."""

    kind: ClassVar[str]
    takes: ClassVar[str]
    gives: ClassVar[str]
    tasks: ClassVar[tuple[str, ...]] = ()
    models: tuple[str, ...] = ()
    max_tokens: int | None = None
    bytes = 0  # of what it keeps in memory

    @classmethod
    @abstractmethod
    def read(cls, where: str, folder: Path, given: dict[str, Any]) -> Step:
        """Of its table in headrace.toml. CorruptFileError, which begins with `where`."""

    @abstractmethod
    async def run(self, run: Run) -> Any: ...


class _Reader:
    """The fields of a step, each asked for once; `done` refuses what is left."""

    def __init__(self, where: str, folder: Path, given: dict[str, Any]) -> None:
        self.where, self.folder, self._given = where, folder, dict(given)
        self._known: list[str] = []

    def take(self, name: str, kind: type, default: Any = ...) -> Any:
        self._known.append(name)
        value = self._given.pop(name, default)
        if value is ...:
            raise CorruptFileError(f"{self.where}: {name} is missing")
        if value is not default and (
            not isinstance(value, kind) or (kind is int and isinstance(value, bool))
        ):
            raise CorruptFileError(f"{self.where}: {name}={value!r:.80} must be a {kind.__name__}")
        return value

    def count(self, name: str, most: int, default: Any = ...) -> Any:
        value = self.take(name, int, default)
        if value is not None and not 1 <= value <= most:
            raise CorruptFileError(f"{self.where}: {name}={value} must be between 1 and {most}")
        return value

    def file(self, name: str) -> Path:
        given: str = self.take(name, str)
        path = (self.folder / given).resolve()
        if self.folder.resolve() not in path.parents:
            raise CorruptFileError(f"{self.where}: {name} must lie in the pipeline's own folder")
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            raise CorruptFileError(
                f"{self.where}: {name}: no such file, or one above {_MAX_BYTES >> 30} GiB: {path.name}"
            )
        return path

    def done(self) -> None:
        if self._given:
            raise CorruptFileError(
                f"{self.where}: {min(self._given)!r} is not known: known are {', '.join(self._known)}"
            )


class Retrieve(Step):
    """A query to the documents whose vectors are nearest to its own."""

    kind, takes, gives, tasks = "retrieve", "text", "documents", ("embed",)

    def __init__(
        self, model: str, documents: list[str], index: VectorIndex, top_k: int, prompt_name: str | None
    ) -> None:
        self.models = (model,)
        self._documents, self._index, self._top_k, self._prompt_name = documents, index, top_k, prompt_name
        self.bytes = len(index) * index.dimensions * 4 + sum(map(len, documents))

    @classmethod
    def read(cls, where: str, folder: Path, given: dict[str, Any]) -> Step:
        import numpy as np

        reader = _Reader(where, folder, given)
        model, prompt_name = reader.take("model", str), reader.take("prompt_name", str, None)
        path, top_k = reader.file("documents"), reader.count("top_k", MAX_TOP_K)
        vectors = reader.file("vectors")
        reader.done()
        documents = _read_documents(where, path)
        try:
            matrix = np.load(vectors, allow_pickle=False)
            if matrix.ndim != 2 or matrix.dtype.kind != "f":
                raise ValueError(f"{matrix.dtype} {list(matrix.shape)} is no matrix of floats")
            index = VectorIndex(matrix)
        except (OSError, ValueError, EOFError) as error:
            raise CorruptFileError(f"{where}: {vectors.name}: {error}") from None
        if len(index) != len(documents):
            raise CorruptFileError(
                f"{where}: {vectors.name} has {len(index)} vectors, and {path.name} {len(documents)} documents"
            )
        return cls(model, documents, index, min(top_k, len(documents)), prompt_name)

    async def run(self, run: Run) -> list[Ranked]:
        model = await run.ask(self.models[0])
        found = await model.aembed_result([run.text], prompt_name=self._prompt_name, **run.request)
        if found.vectors.shape[1] != self._index.dimensions:
            raise InvalidArgumentError(
                f"the vectors of {model.name!r} have {found.vectors.shape[1]} numbers, and those of the documents "
                f"{self._index.dimensions}: embed the documents with the same model"
            )
        search = partial(self._index.search, found.vectors, self._top_k)
        near = await asyncio.get_running_loop().run_in_executor(None, search)
        places = zip(near.indices[0].tolist(), near.scores[0].tolist(), strict=True)
        return [Ranked(index, score, self._documents[index]) for index, score in places]


class Rerank(Step):
    """Documents in the order of how well they answer the query; `index` stays their place among all documents."""

    kind, takes, gives, tasks = "rerank", "documents", "documents", ("rerank",)

    def __init__(self, model: str, top_n: int | None, truncate: bool) -> None:
        self.models = (model,)
        self._top_n, self._truncate = top_n, truncate

    @classmethod
    def read(cls, where: str, folder: Path, given: dict[str, Any]) -> Step:
        reader = _Reader(where, folder, given)
        found = cls(
            reader.take("model", str),
            reader.count("top_n", MAX_TOP_K, None),
            reader.take("truncate", bool, False),
        )
        reader.done()
        return found

    async def run(self, run: Run) -> list[Ranked]:
        documents: list[Ranked] = run.value
        model = await run.ask(self.models[0])
        texts = [ranked.document for ranked in documents]
        job = RerankJob(run.text, texts, top_n=self._top_n, truncate=self._truncate)
        scores, _ = await model._arun_request(job, **run.request)
        ranked = job.ranked(scores)
        return [Ranked(documents[each.index].index, each.score, each.document) for each in ranked]


class Classify(Step):
    """A text to its likeliest label."""

    kind, takes, gives, tasks = "classify", "text", "label", ("classify",)

    def __init__(self, model: str, truncate: bool) -> None:
        self.models = (model,)
        self._truncate = truncate

    @classmethod
    def read(cls, where: str, folder: Path, given: dict[str, Any]) -> Step:
        reader = _Reader(where, folder, given)
        found = cls(reader.take("model", str), reader.take("truncate", bool, False))
        reader.done()
        return found

    async def run(self, run: Run) -> Label:
        model = await run.ask(self.models[0])
        [labels], _ = await model._arun_request(
            ClassifyJob([run.text], truncate=self._truncate), **run.request
        )
        return labels[0]


class Route(Step):
    """The text to the model, or the pipeline, that its label chooses."""

    kind, takes, gives = "route", "label", "answer"
    tasks = ("generate", "classify", "tag", "embed", "pipeline")

    def __init__(self, routes: dict[str, str], default: str | None, max_tokens: int, chat: bool) -> None:
        self._routes, self._default, self._chat = routes, default, chat
        self.models = tuple(dict.fromkeys([*routes.values(), *([] if default is None else [default])]))
        self.max_tokens = max_tokens

    @classmethod
    def read(cls, where: str, folder: Path, given: dict[str, Any]) -> Step:
        reader = _Reader(where, folder, given)
        routes, default = reader.take("routes", dict), reader.take("default", str, None)
        if not routes or not all(isinstance(model, str) for model in routes.values()):
            raise CorruptFileError(f"{where}: routes must lead from labels to models, as {{LABEL = MODEL}}")
        found = cls(
            routes,
            default,
            reader.count("max_tokens", MAX_WRITTEN_TOKENS, 256),
            reader.take("chat", bool, True),
        )
        reader.done()
        return found

    async def run(self, run: Run) -> Routed:
        label: str = run.value.label
        name = self._routes.get(label, self._default)
        if name is None:
            raise InvalidArgumentError(
                f"no route for the label {label!r}, and no default: add one of them to the pipeline"
            )
        pipeline = run.engine.pipelines.get(name)
        if pipeline is not None:
            inner = await pipeline.arun(run.text, timeout=run.timeout, terms=run.terms)
            run.model = name
            return Routed(label, name, inner.output)
        return Routed(label, name, await self._asked(run, name))

    async def _asked(self, run: Run, name: str) -> Any:
        model = await run.ask(name)
        task = model.info.task
        if task == "generate":
            terms = Terms(timeout=run.timeout, priority=run.terms.priority, tenant=run.terms.tenant)
            prompt: Any = [{"role": "user", "content": run.text}] if self._chat else run.text
            stream = await model.abegin(prompt, Sampling(max_tokens=self.max_tokens, temperature=0), terms)
            text = "".join([piece.text async for piece in model.apieces(stream)])
            return await run.terms.written(text)
        if task == "embed":
            return (await model.aembed_result([run.text], **run.request)).vectors[0].tolist()
        job: Any = ClassifyJob([run.text]) if task == "classify" else TagJob([run.text])
        [result], _ = await model._arun_request(job, **run.request)
        return result


class Tag(Step):
    """A text to the entities in it."""

    kind, takes, gives, tasks = "tag", "text", "entities", ("tag",)

    def __init__(self, model: str, aggregation: str) -> None:
        self.models = (model,)
        self._aggregation: Any = aggregation

    @classmethod
    def read(cls, where: str, folder: Path, given: dict[str, Any]) -> Step:
        from .inputs import AGGREGATIONS

        reader = _Reader(where, folder, given)
        found = cls(reader.take("model", str), reader.take("aggregation", str, "simple"))
        reader.done()
        if found._aggregation not in AGGREGATIONS:
            raise CorruptFileError(f"{where}: aggregation must be one of {', '.join(AGGREGATIONS)}")
        return found

    async def run(self, run: Run) -> list[Entity]:
        model = await run.ask(self.models[0])
        [entities], _ = await model._arun_request(
            TagJob([run.text], aggregation=self._aggregation), **run.request
        )
        return entities


class Mask(Step):
    """The text with its entities replaced. It is what further steps read."""

    kind, takes, gives = "mask", "entities", "text"

    def __init__(self, labels: tuple[str, ...] | None, replacement: str, min_score: float) -> None:
        self._labels, self._replacement, self._min_score = labels, replacement, min_score

    @classmethod
    def read(cls, where: str, folder: Path, given: dict[str, Any]) -> Step:
        reader = _Reader(where, folder, given)
        labels, replacement = reader.take("labels", list, None), reader.take("replacement", str, "[{label}]")
        min_score = reader.take("min_score", float, 0.0)
        reader.done()
        if labels is not None and not all(isinstance(label, str) for label in labels):
            raise CorruptFileError(f"{where}: labels must be a list of labels")
        return cls(None if labels is None else tuple(labels), replacement, min_score)

    async def run(self, run: Run) -> str:
        found: list[Entity] = run.value
        parts: list[str] = []
        at = 0
        for entity in sorted(found, key=lambda entity: (entity.start, -entity.end)):
            is_wanted = self._labels is None or entity.label in self._labels
            if not is_wanted or entity.score < self._min_score or entity.start < at:
                continue
            parts += (run.text[at : entity.start], self._replacement.replace("{label}", entity.label))
            at = entity.end
        run.text = "".join([*parts, run.text[at:]])
        return run.text


KINDS: dict[str, type[Step]] = {step.kind: step for step in (Retrieve, Rerank, Classify, Route, Tag, Mask)}


def _read_documents(where: str, path: Path) -> list[str]:
    try:
        lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
        if path.suffix == ".txt":
            return lines
        documents = [json.loads(line) for line in lines]
        documents = [each["text"] if isinstance(each, dict) else each for each in documents]
    except (OSError, ValueError, KeyError, RecursionError) as error:
        raise CorruptFileError(f"{where}: {path.name}: must be JSON lines of texts: {error!r}") from None
    if not documents or not all(isinstance(text, str) and text for text in documents):
        raise CorruptFileError(f"{where}: {path.name}: each line must be a text, or have a text")
    return documents


def plain(value: Any) -> Any:
    """A step's output as JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: plain(item) for name, item in asdict(value).items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
