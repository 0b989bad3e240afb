"""fill_mask: the tokens that fit the masked places of a text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from .._core import softmax_top_k
from ..results import Candidate
from .job import Job, Terms, check_count, one_text

if TYPE_CHECKING:
    from .. import _core
    from ..loaded_model import Model

MAX_TOP_K = 1000


class FillMaskJob(Job[list[list[Candidate]]]):
    """For the one text: for each of its masked places the candidates, best first."""

    task = "fill_mask"

    def __init__(self, text: str, *, top_k: int = 5, truncate: bool = False) -> None:
        self.items: Sequence[str] = [one_text("input", text)]
        self._top_k = check_count("top_k", top_k, 1, MAX_TOP_K)
        self._truncate = truncate

    def submit(self, model: Model, items: Sequence[str], terms: Terms) -> _core.Ticket:
        return model._core.submit_texts(
            model._core_name,
            list(items),
            self._truncate,
            terms.priority,
            terms.wait,
            terms.timeout_us,
            terms.queue,
        )

    def read(self, model: Model, items: Sequence[str], ticket: _core.Ticket) -> list[list[list[Candidate]]]:
        logits = ticket.vectors()
        ids, scores = softmax_top_k(logits, min(self._top_k, logits.shape[1]))
        decode = model.tokenizer.decode
        places = [
            [
                Candidate(decode([token], skip_special_tokens=False), token, score)
                for token, score in zip(row_ids, row_scores, strict=True)
            ]
            for row_ids, row_scores in zip(ids.tolist(), scores.tolist(), strict=True)
        ]
        return [places[begin:end] for begin, end in pairwise(ticket.row_starts)]
