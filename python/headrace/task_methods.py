"""The methods of a Model for each task but embed; each has an async twin that runs the same job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .results import Answer, Candidate, Entity, Label, Ranked
from .tasks.answer import AnswerJob
from .tasks.fill_mask import FillMaskJob
from .tasks.images import Images, classify_job
from .tasks.rerank import RerankJob
from .tasks.tag import Aggregation, TagJob

if TYPE_CHECKING:
    from .running import Runner as _Runner
else:
    _Runner = object

Texts = str | Iterable[str] | Sequence[tuple[str, str]]


class TaskMethods(_Runner):
    """Mixed into Model. A model has one task; calling another raises InvalidArgumentError (code "wrong_task")."""

    def classify(
        self,
        texts: Texts | None = None,
        *,
        images: Images | None = None,
        top_k: int | None = None,
        truncate: bool = False,
        timeout: float | None = None,
        show_progress: bool | None = None,
    ) -> list[list[Label]]:
        """For each text or picture the model's labels, best first.

        Args:
            texts: as `embed` takes them, or a list of pairs (two texts that are read together, as for entailment).
            images: instead of texts, where the model sees: as `embed` takes them.
            top_k: so many labels a text at most; by default all.
            truncate: cut texts that are too long (of a pair: the second); by default they are refused.
            timeout: seconds until each portion of a long list must have started.
            show_progress: as in `embed`.

        Returns: one list a text. Scores are probabilities: of labels that exclude each other (softmax), or of each by
            itself (sigmoid), as the model's config.json says; of a regression they are the plain numbers.

        Raises:
            InvalidArgumentError: an empty list, an empty or over-long text, `top_k` below 1, a model of another task.
            DeadlineError: the timeout passed.

        >>> import headrace, headrace.toy
        >>> with headrace.load(headrace.toy.model("classify")) as model:
        ...     [label.label for label in model.classify("A mill wheel turns.")[0]]
        ['positive', 'negative']
        """
        return self._run(classify_job(texts, images, top_k, truncate), timeout, show_progress)

    async def aclassify(
        self,
        texts: Texts | None = None,
        *,
        images: Images | None = None,
        top_k: int | None = None,
        truncate: bool = False,
        timeout: float | None = None,
    ) -> list[list[Label]]:
        """`classify` for asyncio."""
        return await self._arun(classify_job(texts, images, top_k, truncate), timeout)

    def rerank(
        self,
        query: str,
        documents: Iterable[str],
        *,
        top_n: int | None = None,
        truncate: bool = False,
        timeout: float | None = None,
    ) -> list[Ranked]:
        """The documents in the order of how well they answer the query, by a cross-encoder.

        Args:
            query: a text; it is never cut.
            documents: a list of texts, or any column of them.
            top_n: only so many of the best; by default all.
            truncate: cut documents that do not fit beside the query; by default they are refused.
            timeout: seconds until each portion of a long list must have started.

        Returns: best first, of equal ones the first given. Scores lie between 0 and 1, unless the model's files name
            another activation, as sentence-transformers' CrossEncoder does it.

        Raises:
            InvalidArgumentError: no documents, an empty or over-long text, `top_n` below 1, a model of another task.
            DeadlineError: the timeout passed.

        >>> import headrace, headrace.toy
        >>> with headrace.load(headrace.toy.model("rerank")) as model:
        ...     sorted(r.index for r in model.rerank("a mill", ["a wheel", "the water", "a mill wheel"]))
        [0, 1, 2]
        """
        job = RerankJob(query, documents, top_n=top_n, truncate=truncate)
        return job.ranked(self._run(job, timeout))

    async def arerank(
        self,
        query: str,
        documents: Iterable[str],
        *,
        top_n: int | None = None,
        truncate: bool = False,
        timeout: float | None = None,
    ) -> list[Ranked]:
        """`rerank` for asyncio."""
        job = RerankJob(query, documents, top_n=top_n, truncate=truncate)
        return job.ranked(await self._arun(job, timeout))

    def tag(
        self,
        texts: str | Iterable[str],
        *,
        aggregation: Aggregation = "simple",
        stride: int | None = None,
        ignore_labels: Iterable[str] = ("O",),
        timeout: float | None = None,
        show_progress: bool | None = None,
    ) -> list[list[Entity]]:
        """The entities in each text (names, places, parts of speech: what the model was trained to mark).

        Args:
            texts: as `embed` takes them. A text of any length: what is too long is read in windows.
            aggregation: as in transformers' pipelines. "none": each token by itself; "simple": neighbours of one kind
                become one entity; "first", "average", "max": first the tokens of a word agree, by its first token, by
                the mean of their probabilities or by the surest token.
            stride: tokens that neighbouring windows share; by default 128 or a quarter of the model's longest input.
            ignore_labels: labels that are not told.
            timeout: seconds until each portion of a long list must have started.
            show_progress: as in `embed`.

        Returns: one list a text, in the text's order; `start` and `end` count characters of the text as given.

        Raises:
            InvalidArgumentError: an empty text, a stride that leaves a window nothing new, a model of another task.
            DeadlineError: the timeout passed.

        >>> import headrace, headrace.toy
        >>> text = "A mill wheel turns."
        >>> with headrace.load(headrace.toy.model("tag")) as model:
        ...     all(text[e.start : e.end] == e.text for e in model.tag(text)[0])
        True
        """
        job = TagJob(texts, aggregation=aggregation, stride=stride, ignore_labels=ignore_labels)
        return self._run(job, timeout, show_progress)

    async def atag(
        self,
        texts: str | Iterable[str],
        *,
        aggregation: Aggregation = "simple",
        stride: int | None = None,
        ignore_labels: Iterable[str] = ("O",),
        timeout: float | None = None,
    ) -> list[list[Entity]]:
        """`tag` for asyncio."""
        job = TagJob(texts, aggregation=aggregation, stride=stride, ignore_labels=ignore_labels)
        return await self._arun(job, timeout)

    def answer(
        self,
        question: str,
        context: str,
        *,
        top_k: int = 1,
        max_answer_tokens: int = 15,
        window: int | None = None,
        stride: int | None = None,
        allow_no_answer: bool = False,
        whole_words: bool = True,
        timeout: float | None = None,
    ) -> Answer:
        """The place in `context` that answers `question`.

        Args:
            question: a text; it is never cut.
            context: a text of any length: what is too long is read in windows.
            top_k: how many answers `Answer.spans` holds at most (1 to 100).
            max_answer_tokens: no answer is longer (1 to 512).
            window: tokens that are read together, the question among them; by default 384, or what the model takes.
            stride: tokens of the context that neighbouring windows share; by default 128, or half a window.
            allow_no_answer: let `Answer.best` be None where the model thinks that the context has no answer.
            whole_words: let answers grow to the borders of words.
            timeout: seconds until the request must have started.

        Raises:
            InvalidArgumentError: an empty text, a question that leaves a window no room, a number outside its range,
                a model of another task.
            DeadlineError: the timeout passed.

        >>> import headrace, headrace.toy
        >>> context = "The water turns the wheel of the mill."
        >>> with headrace.load(headrace.toy.model("answer")) as model:
        ...     model.answer("What turns the wheel?", context).text in context
        True
        """
        job = AnswerJob(
            question,
            context,
            top_k=top_k,
            max_answer_tokens=max_answer_tokens,
            window=window,
            stride=stride,
            allow_no_answer=allow_no_answer,
            whole_words=whole_words,
        )
        return self._run(job, timeout)[0]

    async def aanswer(
        self,
        question: str,
        context: str,
        *,
        top_k: int = 1,
        max_answer_tokens: int = 15,
        window: int | None = None,
        stride: int | None = None,
        allow_no_answer: bool = False,
        whole_words: bool = True,
        timeout: float | None = None,
    ) -> Answer:
        """`answer` for asyncio."""
        job = AnswerJob(
            question,
            context,
            top_k=top_k,
            max_answer_tokens=max_answer_tokens,
            window=window,
            stride=stride,
            allow_no_answer=allow_no_answer,
            whole_words=whole_words,
        )
        return (await self._arun(job, timeout))[0]

    def fill_mask(
        self, text: str, *, top_k: int = 5, truncate: bool = False, timeout: float | None = None
    ) -> list[list[Candidate]]:
        """The tokens that fit the masked places of a text, such as "The [MASK] turns.".

        Args:
            text: with the model's mask token ([MASK], or <mask> for the RoBERTa family) once or more often.
            top_k: candidates for each place (1 to 1000).
            truncate: cut a text that is too long; by default it is refused.
            timeout: seconds until the request must have started.

        Returns: for each masked place, in the text's order, its candidates, best first.

        Raises:
            InvalidArgumentError: a text without a mask or too long, `top_k` outside its range, a model of another task.
            DeadlineError: the timeout passed.

        >>> import headrace, headrace.toy
        >>> with headrace.load(headrace.toy.model("fill_mask")) as model:
        ...     [len(place) for place in model.fill_mask("The [MASK] turns the [MASK].", top_k=3)]
        [3, 3]
        """
        return self._run(FillMaskJob(text, top_k=top_k, truncate=truncate), timeout)[0]

    async def afill_mask(
        self, text: str, *, top_k: int = 5, truncate: bool = False, timeout: float | None = None
    ) -> list[list[Candidate]]:
        """`fill_mask` for asyncio."""
        return (await self._arun(FillMaskJob(text, top_k=top_k, truncate=truncate), timeout))[0]
