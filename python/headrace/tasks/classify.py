"""classify: a text, or a pair of texts, to the labels of the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .. import inputs
from ..errors import InvalidArgumentError
from ..results import Label
from .job import Job, Terms, check_count, submit_inputs
from .scores import scores_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .. import _core
    from ..loaded_model import Model

MAX_TOP_K = 1 << 16  # as many labels as a model may have

Texts = str | Iterable[str] | Sequence[tuple[str, str]]


def _is_pair(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and all(isinstance(text, str) for text in item)


class ClassifyJob(Job[list[Label]]):
    """One list of labels a text, best first."""

    task = "classify"

    def __init__(self, texts: Texts, *, top_k: int | None = None, truncate: bool = False) -> None:
        self._top_k = None if top_k is None else check_count("top_k", top_k, 1, MAX_TOP_K)
        self._truncate = truncate
        self.items: Sequence[Any] = self._checked(texts)

    def _checked(self, texts: Texts) -> Sequence[Any]:
        if isinstance(texts, list) and texts and isinstance(texts[0], tuple):
            for i, item in enumerate(texts):
                if not _is_pair(item):
                    raise InvalidArgumentError(
                        f"input[{i}] is no pair of texts like input[0]; give texts only, or pairs only"
                    )
            return texts
        return inputs.as_texts(texts)

    def check(self, model: Model) -> None:
        if not self._truncate and isinstance(self.items[0], str):
            model._core.check_texts(model._core_name, list(self.items))

    def submit(self, model: Model, items: Sequence[Any], terms: Terms) -> _core.Ticket:
        if isinstance(items[0], str):
            return submit_inputs(model, list(items), terms, truncate=self._truncate)
        first, second = ([pair[i] for pair in items] for i in (0, 1))
        return submit_inputs(model, first, terms, pairs=second, truncate=self._truncate)

    def read(self, model: Model, items: Sequence[Any], ticket: _core.Ticket) -> list[list[Label]]:
        scores = scores_of(ticket.vectors(), model.info.activation)
        return ranked(scores, model.info.labels, self._top_k)


def ranked(scores: NDArray[np.float32], labels: Sequence[str], top_k: int | None) -> list[list[Label]]:
    """For each row of scores [n, labels] the labels, best first, of equal ones the first."""
    order = (-scores).argsort(axis=1, kind="stable")[:, :top_k]
    return [
        [Label(labels[i], row[i]) for i in best]
        for row, best in zip(scores.tolist(), order.tolist(), strict=True)
    ]
