"""rerank: how well each document answers a query, by a cross-encoder that reads both together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..results import Ranked
from .job import Job, Terms, as_documents, check_count, one_text, submit_inputs
from .scores import scores_of

if TYPE_CHECKING:
    from .. import _core
    from ..loaded_model import Model

MAX_DOCUMENTS = 1 << 20


class RerankJob(Job[float]):
    """One score a document; `ranked` puts them in order."""

    task = "rerank"

    def __init__(
        self, query: str, documents: Iterable[str], *, top_n: int | None = None, truncate: bool = False
    ) -> None:
        self._query = one_text("query", query)
        self.items: Sequence[str] = as_documents(documents)
        self._top_n = None if top_n is None else check_count("top_n", top_n, 1, MAX_DOCUMENTS)
        self._truncate = truncate

    @property
    def characters(self) -> int:
        return len(self._query) * len(self.items) + super().characters

    def submit(self, model: Model, items: Sequence[str], terms: Terms) -> _core.Ticket:
        return submit_inputs(
            model,
            [self._query] * len(items),
            terms,
            pairs=list(items),
            argument="documents",
            first_argument="query",
            truncate=self._truncate,
        )

    def read(self, model: Model, items: Sequence[str], ticket: _core.Ticket) -> list[float]:
        scores: list[float] = scores_of(ticket.vectors(), model.info.activation)[:, 0].tolist()
        return scores

    def ranked(self, scores: list[float]) -> list[Ranked]:
        """The best `top_n` documents, best first; of equal ones the first given."""
        order = sorted(range(len(scores)), key=lambda i: -scores[i])[: self._top_n]
        return [Ranked(i, scores[i], self.items[i]) for i in order]
