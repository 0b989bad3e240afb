"""A loaded model as an ordinary Python object: each call has an async twin."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, cast

from . import _core, inputs, render
from .attributions.methods import ExplainMethods
from .errors import InvalidArgumentError
from .generate_methods import GenerateMethods
from .predict_methods import PredictMethods
from .running import PORTION, Admission, Priority, Runner, Stop, make_terms
from .task_methods import TaskMethods
from .tasks.images import EmbedImagesJob, Images

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Self

    from .engine import Engine
    from .predict.runner import Calls
    from .predict.signature import TensorSpec
    from .search import Metric


@dataclass(frozen=True)
class ModelInfo:
    """What a loaded model is. `parameters` and `dimensions` are counts, `max_tokens` includes special tokens. `base` is
    what an adapter adapts, `cache_bytes` what the cache of keys and values of a language model takes.

    `labels` are those that the model gives (classify, tag), `activation` what makes scores of its numbers. Of
    models that embed: `prompts` what may stand before a text, by name, and `default_prompt` the name of the one that
    does unasked; `similarity` how the vectors are to be compared, `normalized` whether their length is 1.

    `modalities` holds "text", "image" or both; `image_size` is the width and height that pictures are brought to.
    `inputs` and `outputs` are the tensors of a model outside the core, `streams` whether it yields piece by piece.
    """

    name: str
    task: str
    architecture: str
    dimensions: int
    max_tokens: int
    vocabulary: int
    parameters: int
    weight_bytes: int
    precision: str
    isa: str
    path: str
    created: int
    labels: tuple[str, ...] = ()
    activation: str = "identity"
    prompts: dict[str, str] = field(default_factory=dict, hash=False)
    default_prompt: str | None = None
    similarity: str = ""
    normalized: bool = False
    base: str | None = None
    modalities: tuple[str, ...] = ("text",)
    image_size: tuple[int, int] | None = None
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    streams: bool = False
    cache_bytes: int = 0

    @property
    def bytes(self) -> int:
        """Memory that it takes: weights, and of one that writes text the cache of keys and values."""
        return self.weight_bytes + self.cache_bytes

    @property
    def version(self) -> str:
        """The number of the folder where a model has numbered ones, else 1."""
        name = os.path.basename(self.path)
        return name if name.isascii() and name.isdigit() else "1"


@dataclass(frozen=True)
class Embeddings:
    """An answer with its costs: `vectors` float32 [n, dim]; `tokens` all tokens read, special ones included;
    `truncated` how many texts were cut."""

    vectors: NDArray[np.float32]
    tokens: int
    truncated: int


class Model(TaskMethods, GenerateMethods, PredictMethods, ExplainMethods, Runner):
    """A loaded model. Made by `headrace.load` or `Engine.add`; safe to use from any number of threads and tasks."""

    def __init__(
        self,
        engine: Engine,
        info: ModelInfo,
        generator: _core.Generator | None = None,
        core_name: str | None = None,
        base: Model | None = None,
        calls: Calls | None = None,
        precision: str = "auto",
    ) -> None:
        self._engine = engine
        self._core = engine._core
        self._generator = generator
        self.info = info
        # In the core a model that took the place of another has a name of its own: both are there for a while.
        self._core_name = core_name or info.name
        self._calls = calls  # of a model that runs outside the core
        self._base = base  # of an adapter: what it adapts, which stays as long
        # As it was asked for: "q4" is 4 bits everywhere, "auto" of a GGUF what its matrices have, q4 most of them.
        self._asked_precision = precision

    @property
    def name(self) -> str:
        return self.info.name

    def embed(
        self,
        texts: str | Iterable[str] | None = None,
        *,
        images: Images | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        truncate: bool = False,
        dimensions: int | None = None,
        timeout: float | None = None,
        show_progress: bool | None = None,
    ) -> NDArray[np.float32]:
        """One vector per text or picture: float32 [n, dim], in order. Long lists run in portions of bounded memory.

        Args:
            texts: a str, a list, a numpy array, a pandas or polars Series, or any iterable of str.
            images: instead of texts, where the model sees ("image" in `info.modalities`): one picture or a list, as
                `headrace.pictures.decode` takes them (paths, bytes, data: URLs, images of Pillow, uint8 arrays); or
                float32 arrays [3, height, width] that are preprocessed already.
            prompt_name: one of `info.prompts`, such as "query", to stand before each text; by default
                `info.default_prompt`, if the model has one.
            prompt: the same in your own words, such as "query: "; "" is none.
            truncate: cut texts that are longer than the model allows; by default they are refused.
            dimensions: keep only the first so many numbers of each vector and bring it back to length 1 (for models
                trained that way: Kusupati et al. 2022, arXiv:2205.13147).
            timeout: seconds until each portion must have started.
            show_progress: a progress bar; by default for long lists on a terminal or in a notebook, if tqdm is there.

        Raises:
            InvalidArgumentError: an empty list, an empty or over-long text, something that is no text.
            DeadlineError: the timeout passed.

        >>> import headrace
        >>> with headrace.load("demo:minilm") as model:
        ...     model.embed(["A headrace leads water to the wheel."]).shape
        (1, 384)
        """
        self._check_dimensions(dimensions)
        if images is not None:
            job = EmbedImagesJob(images, texts, prompt or prompt_name)
            return self._shorten(job.joined(self._run(job, timeout, show_progress)), dimensions)
        items = inputs.as_texts(texts)
        before = self._prompt(prompt_name, prompt)
        if len(items) <= PORTION:
            ticket = self._submit(items, truncate, timeout, "normal", "wait", None, before)
            self._wait(ticket)
            return self._shorten(ticket.vectors(), dimensions)
        return self._shorten(self._embed_long(items, before, truncate, timeout, show_progress), dimensions)

    async def aembed(
        self,
        texts: str | Iterable[str] | None = None,
        *,
        images: Images | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        truncate: bool = False,
        dimensions: int | None = None,
        timeout: float | None = None,
    ) -> NDArray[np.float32]:
        """`embed` for asyncio: never blocks the event loop, and cancelling the task cancels the work."""
        if images is not None:
            self._check_dimensions(dimensions)
            job = EmbedImagesJob(images, texts, prompt or prompt_name)
            return self._shorten(job.joined(await self._arun(job, timeout)), dimensions)
        items = inputs.as_texts(texts)
        if len(items) <= PORTION:
            result = await self.aembed_result(
                items,
                prompt_name=prompt_name,
                prompt=prompt,
                truncate=truncate,
                dimensions=dimensions,
                timeout=timeout,
                priority="normal",
                admission="wait",
            )
            return result.vectors
        self._check_dimensions(dimensions)
        before = self._prompt(prompt_name, prompt)
        vectors = await self._in_thread(
            lambda stop: self._embed_long(items, before, truncate, timeout, False, stop)
        )
        return self._shorten(vectors, dimensions)

    async def aembed_result(
        self,
        texts: list[str] | list[list[int]],
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        truncate: bool = False,
        dimensions: int | None = None,
        timeout: float | None = None,
        priority: Priority = "interactive",
        admission: Admission = "refuse",
    ) -> Embeddings:
        """One request as a server makes it: vectors with token counts; token ids are taken as they are.

        Args:
            prompt_name, prompt: as `embed`; none stands before token ids.
            priority: "interactive" goes before "normal", that before "batch"; a level is worth one second of waiting.
            admission: "refuse" raises OverloadedError when the queue is longer than the engine's budget; "wait" queues.

        Raises:
            OverloadedError: `retry_after` says when to try again, in seconds.
            InvalidArgumentError, DeadlineError: as `embed`.
        """
        begin = partial(
            self._begin_result,
            texts,
            prompt_name=prompt_name,
            prompt=prompt,
            truncate=truncate,
            dimensions=dimensions,
            timeout=timeout,
            priority=priority,
            admission=admission,
        )
        return self._result_of(await self._finished(begin, _size(texts)), dimensions)

    def _begin_result(
        self,
        texts: list[str] | list[list[int]],
        queue: _core.CompletionQueue,
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        truncate: bool = False,
        dimensions: int | None = None,
        timeout: float | None = None,
        priority: Priority = "interactive",
        admission: Admission = "refuse",
    ) -> _core.Ticket:
        """The first half of `aembed_result`. A refused ticket is finished at once, and `queue` not told."""
        self._check_dimensions(dimensions)
        if texts and not isinstance(texts[0], str):
            if prompt_name is not None or prompt:
                raise InvalidArgumentError("prompt_name: no prompt can stand before token ids; give texts")
            prompt = ""
        before = self._prompt(prompt_name, prompt)
        return self._submit(texts, truncate, timeout, priority, admission, queue, before)

    def _result_of(self, ticket: _core.Ticket, dimensions: int | None) -> Embeddings:
        """The second half, once the ticket is finished and `_ended` was told; raises what it failed with."""
        return Embeddings(self._shorten(ticket.vectors(), dimensions), ticket.tokens, ticket.truncated)

    def similarity(self, a: ArrayLike, b: ArrayLike | None = None) -> NDArray[np.float32]:
        """float32 [n, m]: how like each vector of `a` is to each of `b`, or to those of `a` itself, by the measure
        that the model was trained for (`info.similarity`). Of "euclidean" and "manhattan" it is the distance.

        Raises InvalidArgumentError as `headrace.similarity`.
        """
        from .search import similarity

        self._check_task("embed")
        return similarity(a, b, metric=cast("Metric", self.info.similarity))

    def close(self) -> None:
        """Gives the model's memory back. A model from `headrace.load` closes its engine with it."""
        self._engine._release(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return render.model_text(self.info)

    def _repr_html_(self) -> str:
        return render.model_html(self.info)

    def _check_dimensions(self, dimensions: int | None) -> None:
        self._check_task("embed")
        if dimensions is not None and not 1 <= dimensions <= self.info.dimensions:
            raise InvalidArgumentError(
                f"dimensions={dimensions}: must be between 1 and {self.info.dimensions}"
            )

    def _prompt(self, prompt_name: str | None, prompt: str | None) -> str:
        """What is to stand before each text; "" for nothing."""
        if prompt is not None:
            if prompt_name is not None:
                raise InvalidArgumentError("prompt and prompt_name are both given: give one of them")
            if not isinstance(prompt, str) or any("\ud800" <= letter <= "\udfff" for letter in prompt):
                raise InvalidArgumentError(f"prompt={prompt!r}: must be a str of valid Unicode")
            return prompt
        name = self.info.default_prompt if prompt_name is None else prompt_name
        if name is None:
            return ""
        found = self.info.prompts.get(name)
        if found is None:
            known = ", ".join(map(repr, self.info.prompts))
            raise InvalidArgumentError(
                f"prompt_name={name!r}: the model {self.name!r} has "
                + (f"the prompts {known}" if known else "no prompts; leave it out")
            )
        return found

    def _shorten(self, vectors: NDArray[np.float32], dimensions: int | None) -> NDArray[np.float32]:
        """The first so many numbers, at length 1 again."""
        if dimensions is None or (dimensions == vectors.shape[1] and self.info.normalized):
            return vectors
        import numpy as np

        short = np.array(vectors[:, :dimensions])
        short /= np.maximum(np.linalg.norm(short, axis=1, keepdims=True), np.float32(1e-12))
        return short

    def _submit(
        self,
        items: list[str] | list[list[int]],
        truncate: bool,
        timeout: float | None,
        priority: Priority,
        admission: Admission,
        queue: _core.CompletionQueue | None,
        prompt: str,
    ) -> _core.Ticket:
        terms = make_terms(timeout, priority, admission, queue)
        rest = (truncate, terms.priority, terms.wait, terms.timeout_us, terms.queue)
        if items and not isinstance(items[0], str):
            ticket = self._core.submit_ids(self._core_name, items, *rest)
        else:
            ticket = self._core.submit_texts(self._core_name, items, *rest, prompt)
        if self._shadow is not None:
            from .shadow import copy_of_texts

            self._offer(ticket, lambda: copy_of_texts(self, items, truncate, prompt))
        return ticket

    def _embed_long(
        self,
        items: list[str],
        prompt: str,
        truncate: bool,
        timeout: float | None,
        show_progress: bool | None,
        stop: Stop | None = None,
    ) -> NDArray[np.float32]:
        import numpy as np

        if not truncate:
            self._core.check_texts(
                self._core_name, items, prompt
            )  # an over-long text is found now, not after an hour
        vectors = np.empty((len(items), self.info.dimensions), np.float32)

        def submit(portion: list[str]) -> _core.Ticket:
            return self._submit(portion, truncate, timeout, "normal", "wait", None, prompt)

        with self._portions(items, submit, show_progress, stop) as finished:
            for start, ticket in finished:
                vectors[start : start + PORTION] = ticket.vectors()
        return vectors


def _size(texts: Sequence[object]) -> int:
    """Characters or ids in all; what has no length counts nothing, and the core will refuse it by place."""
    return sum(len(text) if isinstance(text, (str, list)) else 0 for text in texts)
