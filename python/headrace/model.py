"""A loaded model as an ordinary Python object: each call has an async twin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from . import _core, inputs, render
from .errors import InvalidArgumentError
from .running import PORTION, Admission, Priority, Runner, Stop, make_terms
from .task_methods import TaskMethods

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Self

    from .engine import Engine


@dataclass(frozen=True)
class ModelInfo:
    """What a loaded model is. `parameters` and `dimensions` are counts, `max_tokens` includes special tokens.

    `labels` are those that the model gives (classify, tag), `activation` what makes scores of its numbers.
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


@dataclass(frozen=True)
class Embeddings:
    """An answer with its costs: `vectors` float32 [n, dim]; `tokens` all tokens read, special ones included;
    `truncated` how many texts were cut."""

    vectors: NDArray[np.float32]
    tokens: int
    truncated: int


class Model(TaskMethods, Runner):
    """A loaded model. Made by `headrace.load` or `Engine.add`; safe to use from any number of threads and tasks."""

    def __init__(self, engine: Engine, info: ModelInfo) -> None:
        self._engine = engine
        self._core = engine._core
        self.info = info

    @property
    def name(self) -> str:
        return self.info.name

    @property
    def tokenizer(self) -> _core.Tokenizer:
        """The model's tokenizer, the very one that the engine uses."""
        return self._core.tokenizer(self.name)

    def embed(
        self,
        texts: str | Iterable[str],
        *,
        truncate: bool = False,
        dimensions: int | None = None,
        timeout: float | None = None,
        show_progress: bool | None = None,
    ) -> NDArray[np.float32]:
        """One vector per text: float32 [n, dim], in order. Long lists run in portions of bounded memory.

        Args:
            texts: a str, a list, a numpy array, a pandas or polars Series, or any iterable of str.
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
        items = inputs.as_texts(texts)
        self._check_dimensions(dimensions)
        if len(items) <= PORTION:
            ticket = self._submit(items, truncate, timeout, "normal", "wait", None)
            self._wait(ticket)
            return _shorten(ticket.vectors(), dimensions)
        return _shorten(self._embed_long(items, truncate, timeout, show_progress), dimensions)

    async def aembed(
        self,
        texts: str | Iterable[str],
        *,
        truncate: bool = False,
        dimensions: int | None = None,
        timeout: float | None = None,
    ) -> NDArray[np.float32]:
        """`embed` for asyncio: never blocks the event loop, and cancelling the task cancels the work."""
        items = inputs.as_texts(texts)
        if len(items) <= PORTION:
            result = await self.aembed_result(
                items,
                truncate=truncate,
                dimensions=dimensions,
                timeout=timeout,
                priority="normal",
                admission="wait",
            )
            return result.vectors
        self._check_dimensions(dimensions)
        vectors = await self._in_thread(lambda stop: self._embed_long(items, truncate, timeout, False, stop))
        return _shorten(vectors, dimensions)

    async def aembed_result(
        self,
        texts: list[str] | list[list[int]],
        *,
        truncate: bool = False,
        dimensions: int | None = None,
        timeout: float | None = None,
        priority: Priority = "interactive",
        admission: Admission = "refuse",
    ) -> Embeddings:
        """One request as a server makes it: vectors with token counts; token ids are taken as they are.

        Args:
            priority: "interactive" goes before "normal", that before "batch"; a level is worth one second of waiting.
            admission: "refuse" raises OverloadedError when the queue is longer than the engine's budget; "wait" queues.

        Raises:
            OverloadedError: `retry_after` says when to try again, in seconds.
            InvalidArgumentError, DeadlineError: as `embed`.
        """
        begin = partial(
            self._begin_result,
            texts,
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
        truncate: bool = False,
        dimensions: int | None = None,
        timeout: float | None = None,
        priority: Priority = "interactive",
        admission: Admission = "refuse",
    ) -> _core.Ticket:
        """The first half of `aembed_result`. A refused ticket is finished at once, and `queue` not told."""
        self._check_dimensions(dimensions)
        return self._submit(texts, truncate, timeout, priority, admission, queue)

    def _result_of(self, ticket: _core.Ticket, dimensions: int | None) -> Embeddings:
        """The second half, once the ticket is finished; raises what it failed with."""
        return Embeddings(_shorten(ticket.vectors(), dimensions), ticket.tokens, ticket.truncated)

    def close(self) -> None:
        """Gives the model's memory back. A model from `headrace.load` closes its engine with it."""
        self._engine._release(self.name)

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

    def _submit(
        self,
        items: list[str] | list[list[int]],
        truncate: bool,
        timeout: float | None,
        priority: Priority,
        admission: Admission,
        queue: _core.CompletionQueue | None,
    ) -> _core.Ticket:
        submit = self._core.submit_texts if not items or isinstance(items[0], str) else self._core.submit_ids
        terms = make_terms(timeout, priority, admission, queue)
        return submit(self.name, items, truncate, terms.priority, terms.wait, terms.timeout_us, terms.queue)

    def _embed_long(
        self,
        items: list[str],
        truncate: bool,
        timeout: float | None,
        show_progress: bool | None,
        stop: Stop | None = None,
    ) -> NDArray[np.float32]:
        import numpy as np

        if not truncate:
            self._core.check_texts(self.name, items)  # an over-long text is found now, not after an hour
        vectors = np.empty((len(items), self.info.dimensions), np.float32)

        def submit(portion: list[str]) -> _core.Ticket:
            return self._submit(portion, truncate, timeout, "normal", "wait", None)

        with self._portions(items, submit, show_progress, stop) as finished:
            for start, ticket in finished:
                vectors[start : start + PORTION] = ticket.vectors()
        return vectors


def _size(texts: Sequence[object]) -> int:
    """Characters or ids in all; what has no length counts nothing, and the core will refuse it by place."""
    return sum(len(text) if isinstance(text, (str, list)) else 0 for text in texts)


def _shorten(vectors: NDArray[np.float32], dimensions: int | None) -> NDArray[np.float32]:
    if dimensions is None or dimensions == vectors.shape[1]:
        return vectors
    import numpy as np

    short = np.ascontiguousarray(vectors[:, :dimensions])
    short /= np.maximum(np.linalg.norm(short, axis=1, keepdims=True), np.float32(1e-12))
    return short
