"""rerank: the order of each query's documents, and answers against the rest as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cells import as_text
from ..evaluation import Evaluation, cells_of, read_rows, timed
from ..inspection import Inspected
from ..metrics import classification, ranking, resampling
from ..scan import DataSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...loaded_model import Model


def read(model: Model, data: str | Path, settings: DataSettings) -> Inspected:
    """The file's rows: query, document, label."""
    return read_rows(data, "rerank", settings, None)


def _queries(cells: dict[str, list[Any]]) -> dict[str, list[int]]:
    """Places of each query's rows."""
    found: dict[str, list[int]] = {}
    for i, query in enumerate(cells["query"]):
        found.setdefault(as_text(query), []).append(i)
    return found


def _scores(model: Model, queries: dict[str, list[int]], documents: list[str]) -> NDArray[np.float64]:
    scores = np.empty(len(documents))
    for query, rows in queries.items():
        for ranked in model.rerank(query, [documents[i] for i in rows], truncate=True):
            scores[rows[ranked.index]] = ranked.score
    return scores


def _by_query(
    scores: NDArray[Any], labels: NDArray[Any], queries: dict[str, list[int]]
) -> dict[str, NDArray[np.float64]]:
    """mrr@10 and ndcg@10 of each query that has an answer among several documents."""
    found: dict[str, list[float]] = {"mrr@10": [], "ndcg@10": []}
    for rows in queries.values():
        relevance = labels[rows]
        if len(rows) > 1 and relevance.max() > 0:
            found["mrr@10"].append(ranking.reciprocal_rank(relevance > 0.5, scores[rows]))
            found["ndcg@10"].append(ranking.ndcg(relevance, scores[rows]))
    return {name: np.asarray(values) for name, values in found.items()}


def measure(
    result: Evaluation, model: Model, data: Inspected, places: NDArray[Any], *, bootstrap: int, seed: int
) -> list[dict[str, Any]]:
    """Fills the result; each row's score."""
    cells = cells_of(data, places)
    documents = [as_text(text) for text in cells["document"]]
    labels, queries = data.labels[places], _queries(cells)
    pairs = list(zip(cells["query"], documents, strict=True))
    scores, result.speed = timed(
        lambda _: _scores(model, queries, documents),
        pairs,
        lambda pair: model.rerank(as_text(pair[0]), [pair[1]], truncate=True),
    )
    for name, values in _by_query(scores, labels, queries).items():
        if len(values):
            result.metrics[name] = float(values.mean())
            if bootstrap:
                result.intervals[name] = resampling.mean_interval(values, draws=bootstrap, seed=seed)
    is_answer = labels > 0.5
    result.metrics["roc_auc"] = classification.roc_auc(is_answer, scores)
    result.metrics["average_precision"] = classification.average_precision(is_answer, scores)
    result.notes.append(f"{len(queries)} queries")
    rows = data.rows[places]
    return [
        {"row": int(row), "label": float(label), "score": float(score)}
        for row, label, score in zip(rows, labels, scores, strict=True)
    ]


def compare(result: Evaluation, other: Model, data: Inspected, places: NDArray[Any], seed: int) -> None:
    """Adds how the other model orders the same documents."""
    cells = cells_of(data, places)
    labels, queries = data.labels[places], _queries(cells)
    first = np.asarray([row["score"] for row in result.predictions])
    second = _scores(other, queries, [as_text(text) for text in cells["document"]])
    one, two = (_by_query(scores, labels, queries) for scores in (first, second))
    result.comparison["differences"] = [
        resampling.compare_means(name, one[name], two[name], seed=seed) for name in one if len(one[name])
    ]
