"""answer: the place in a context that answers a question, by a model that marks where answers begin and end.

A context that is too long is read in windows that overlap. In each window the scores are as transformers'
question-answering pipeline has them: softmax over the tokens of the context and the first token, which stands for
"no answer here"; a span scores the product of its ends.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..results import Answer, Span
from .job import Job, Terms, check_count, one_text, submit_inputs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .. import _core
    from ..loaded_model import Model

MAX_TOP_K = 100
MAX_ANSWER_TOKENS = 512
MAX_WINDOW = 1 << 20
_DEFAULT_WINDOW, _DEFAULT_STRIDE = 384, 128


class _Found(NamedTuple):
    score: float
    start: int
    end: int


class AnswerJob(Job[Answer]):
    """One answer a pair of question and context."""

    task = "answer"

    def __init__(
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
    ) -> None:
        self.items: Sequence[tuple[str, str]] = [
            (one_text("question", question), one_text("context", context))
        ]
        self._top_k = check_count("top_k", top_k, 1, MAX_TOP_K)
        self._longest = check_count("max_answer_tokens", max_answer_tokens, 1, MAX_ANSWER_TOKENS)
        self._window = None if window is None else check_count("window", window, 8, MAX_WINDOW)
        self._stride = None if stride is None else check_count("stride", stride, 0, MAX_WINDOW)
        self._allow_no_answer = allow_no_answer
        self._whole_words = whole_words

    def submit(self, model: Model, items: Sequence[tuple[str, str]], terms: Terms) -> _core.Ticket:
        window = min(self._window or _DEFAULT_WINDOW, model.info.max_tokens)
        stride = min(window // 2, _DEFAULT_STRIDE) if self._stride is None else self._stride
        questions, contexts = ([item[i] for item in items] for i in (0, 1))
        return submit_inputs(
            model,
            questions,
            terms,
            pairs=contexts,
            argument="context",
            first_argument="question",
            stride=stride,
            window=window,
        )

    def read(self, model: Model, items: Sequence[tuple[str, str]], ticket: _core.Ticket) -> list[Answer]:
        logits, starts = ticket.vectors(), ticket.row_starts
        found: list[list[_Found]] = [[] for _ in items]
        nothing = [1.0] * len(items)
        for window, begin, end in zip(ticket.windows(), starts, starts[1:], strict=False):
            spans, no_answer = self._spans(window, logits[begin:end])
            found[window.input] += spans
            nothing[window.input] = min(nothing[window.input], no_answer)
        return [
            self._answer(context, spans, score)
            for (_, context), spans, score in zip(items, found, nothing, strict=True)
        ]

    def _spans(self, window: _core.Window, logits: NDArray[np.float32]) -> tuple[list[_Found], float]:
        """The best spans of one window, and the score of there being none in it."""
        import numpy as np

        places = np.flatnonzero(window.sequence_ids == 1)
        # Row 0 is the first token, the others are the context's.
        chosen = logits[np.concatenate(([0], places))]
        shares = np.exp(chosen - chosen.max(axis=0))
        shares /= shares.sum(axis=0)
        no_answer = float(shares[0, 0] * shares[0, 1])
        if len(places) == 0:
            return [], no_answer
        first, last = shares[1:, 0], shares[1:, 1]
        width = min(self._longest, len(places))
        # products[i, d] = first[i] last[i + d]: only spans that are short enough are ever looked at.
        ends = np.concatenate((last, np.full(width - 1, -1, np.float32)))
        products = (np.lib.stride_tricks.sliding_window_view(ends, width) * first[:, None]).ravel()
        wanted = min(self._top_k * (1 if self._top_k == 1 else 2), len(products))
        best = np.argpartition(-products, wanted - 1)[:wanted]
        best = best[np.lexsort((best, -products[best]))]
        offsets = window.offsets[places]
        return [
            _Found(
                float(products[flat]),
                int(offsets[flat // width, 0]),
                int(offsets[flat // width + flat % width, 1]),
            )
            for flat in best.tolist()
            if products[flat] >= 0
        ], no_answer

    def _answer(self, context: str, found: list[_Found], no_answer: float) -> Answer:
        best: dict[tuple[int, int], float] = {}
        for score, start, end in found:
            # Windows overlap, and words may hold several spans: one place is one answer, by its best score.
            place = _whole_words(context, start, end) if self._whole_words else (start, end)
            best[place] = max(score, best.get(place, 0.0))
        ranked = sorted(best.items(), key=lambda entry: (-entry[1], entry[0]))[: self._top_k]
        spans = tuple(Span(context[start:end], score, start, end) for (start, end), score in ranked)
        first = spans[0] if spans else None
        if self._allow_no_answer and first is not None and no_answer > first.score:
            first = None
        return Answer(first, spans, no_answer)


def _in_word(character: str) -> bool:
    """Whether it belongs to a longer word as BERT splits words: no white space, punctuation or ideograph."""
    if character.isspace() or unicodedata.category(character)[0] == "P":
        return False
    if character.isascii():
        return character.isalnum()
    return not unicodedata.name(character, "").startswith("CJK")


def _whole_words(text: str, start: int, end: int) -> tuple[int, int]:
    """The span, grown to the borders of the words that it begins and ends in."""
    if start >= end:
        return start, end
    while start > 0 and _in_word(text[start]) and _in_word(text[start - 1]):
        start -= 1
    while end < len(text) and _in_word(text[end - 1]) and _in_word(text[end]):
        end += 1
    return start, end
