"""tag: whole entities, right in kind and in both ends, by seqeval's rules."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...tasks.tag import Aggregation
from ..cells import as_list
from ..evaluation import Evaluation, cells_of, read_rows, timed
from ..inspection import Inspected
from ..metrics import entities, resampling
from ..scan import DataSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...loaded_model import Model
    from ...results import Entity

_AGGREGATION: Aggregation = "first"
_WORST = 50


def read(model: Model, data: str | Path, settings: DataSettings) -> Inspected:
    """The file's rows: tokens and tags. Kinds that the model does not know count as not found."""
    return read_rows(data, "tag", settings, None)


def spans(found: Sequence[Entity], words: Sequence[str]) -> list[entities.Span]:
    """Entities of the words joined by spaces, as the first and last word that they touch."""
    starts = [0, *accumulate(len(word) + 1 for word in words)][: len(words)]
    return [
        (one.label.removeprefix("B-").removeprefix("I-"), bisect_right(starts, one.start) - 1,
         bisect_right(starts, max(one.start, one.end - 1)) - 1)
        for one in found
    ]  # fmt: skip


def _answers(model: Model, texts: list[str]) -> list[list[Entity]]:
    return model.tag(texts, aggregation=_AGGREGATION, show_progress=False)


def measure(
    result: Evaluation, model: Model, data: Inspected, places: NDArray[Any], *, bootstrap: int, seed: int
) -> list[dict[str, Any]]:
    """Fills the result; each row's entities."""
    cells = cells_of(data, places)
    sentences = [as_list(cell) for cell in cells["tokens"]]
    truth = [entities.spans_of(as_list(cell)) for cell in cells["tags"]]
    texts = [" ".join(words) for words in sentences]
    answers, result.speed = timed(
        lambda some: _answers(model, some), texts, lambda text: _answers(model, [text])
    )
    found = [spans(one, words) for one, words in zip(answers, sentences, strict=True)]
    figures = entities.score(truth, found)
    for average in ("micro", "macro", "weighted"):
        for name in ("precision", "recall", "f1"):
            result.metrics[f"{name}_{average}"] = figures[average][name]
    result.per_class = {
        kind: row for kind, row in figures.items() if kind not in ("micro", "macro", "weighted")
    }
    result.notes.append(f'entities are those of model.tag(text, aggregation="{_AGGREGATION}")')
    if bootstrap and len(truth):
        counts = _counts(truth, found)

        def f1(rows: NDArray[np.int64]) -> float:
            right, given, wanted = counts[rows].sum(axis=0)
            return float(2 * right / (given + wanted)) if given + wanted else 0.0

        result.intervals["f1_micro"] = resampling.statistic_interval(
            f1, len(truth), draws=bootstrap, seed=seed
        )
    rows = data.rows[places]
    for i in range(len(texts)):
        if set(truth[i]) != set(found[i]) and len(result.mistakes) < _WORST:
            result.mistakes.append(
                {"row": int(rows[i]), "text": texts[i], "label": _told(truth[i], sentences[i]),
                 "found": _told(found[i], sentences[i]), "score": max((e.score for e in answers[i]), default=0.0)}
            )  # fmt: skip
    return [
        {"row": int(rows[i]), "label": truth[i], "found": found[i]}
        for i in range(len(texts))
    ]  # fmt: skip


def _told(found: Sequence[entities.Span], words: Sequence[str]) -> str:
    return (
        "; ".join(f"{kind}: {' '.join(words[first : last + 1])}" for kind, first, last in found) or "nothing"
    )


def _counts(truth: list[list[entities.Span]], found: list[list[entities.Span]]) -> NDArray[np.int64]:
    """int64 [rows, 3]: right, found and wanted entities."""
    return np.asarray(
        [(len(set(one) & set(other)), len(other), len(one)) for one, other in zip(truth, found, strict=True)],
        dtype=np.int64,
    ).reshape(-1, 3)


def compare(result: Evaluation, other: Model, data: Inspected, places: NDArray[Any], seed: int) -> None:
    """Adds how the other model does: micro F1, and the share of rows whose entities are all right."""
    cells = cells_of(data, places)
    sentences = [as_list(cell) for cell in cells["tokens"]]
    truth = [entities.spans_of(as_list(cell)) for cell in cells["tags"]]
    theirs = _answers(other, [" ".join(words) for words in sentences])
    second = [spans(one, words) for one, words in zip(theirs, sentences, strict=True)]
    first = [row["found"] for row in result.predictions]
    right = [
        np.asarray([set(one) == set(wanted) for one, wanted in zip(found, truth, strict=True)])
        for found in (first, second)
    ]
    result.comparison["differences"] = [
        resampling.compare_statistic(
            "f1_micro", _f1, _counts(truth, first), _counts(truth, second), seed=seed
        ),
        resampling.compare_means("rows all right", right[0], right[1], seed=seed),
    ]
    result.comparison["mcnemar_p"] = resampling.mcnemar(right[0], right[1])


def _f1(counts: NDArray[Any]) -> float:
    right, given, wanted = counts.sum(axis=0)
    return float(2 * right / (given + wanted)) if given + wanted else 0.0
