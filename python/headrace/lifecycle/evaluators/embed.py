"""embed: likeness against people's (pairs with a score), or finding what belongs to a text (pairs without)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InvalidArgumentError
from ..cells import as_text
from ..columns import find_columns
from ..data import read_blocks
from ..evaluation import Evaluation, cells_of, read_rows, timed
from ..inspection import Inspected
from ..metrics import ranking, resampling
from ..scan import DataSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...loaded_model import Model

_PORTION = 256  # queries whose scores with all documents are there at a time


def read(model: Model, data: str | Path, settings: DataSettings) -> Inspected:
    """The file's rows: two texts and a score, or an anchor and what belongs to it."""
    block = next(read_blocks(data, encoding=settings.encoding, delimiter=settings.delimiter))
    try:
        find_columns("similarity", block.columns, settings.columns)
        task = "similarity"
    except InvalidArgumentError:
        task = "embed"
    return read_rows(data, task, settings, None)


def measure(
    result: Evaluation, model: Model, data: Inspected, places: NDArray[Any], *, bootstrap: int, seed: int
) -> list[dict[str, Any]]:
    """Fills the result; each row's likeness, or the place of its own text."""
    cells = cells_of(data, places)
    parts = ("first", "second") if data.report.task == "similarity" else ("anchor", "positive")
    sides = [[as_text(text) for text in cells[part]] for part in parts]
    texts = list(dict.fromkeys([*sides[0], *sides[1]]))
    vectors, result.speed = timed(
        lambda some: model.embed(some, truncate=True, show_progress=False),
        texts,
        lambda text: model.embed(text, truncate=True),
    )
    number = {text: i for i, text in enumerate(texts)}
    one, two = ([number[text] for text in side] for side in sides)
    if data.report.task == "similarity":
        return _similarity(result, model, data, places, vectors[one], vectors[two], bootstrap, seed)
    figures = _retrieval(model, vectors, one, two)
    for name, values in figures.items():
        result.metrics[name] = float(values.mean())
        if bootstrap:
            result.intervals[name] = resampling.mean_interval(values, draws=bootstrap, seed=seed)
    queries = dict.fromkeys(one)
    result.notes.append(f"{len(queries)} anchors, each among {len(set(two))} texts")
    first_row: dict[int, int] = {}
    for query, row in zip(one, data.rows[places], strict=True):
        first_row.setdefault(query, int(row))
    return [
        {"row": first_row[query], **{name: float(values[i]) for name, values in figures.items()}}
        for i, query in enumerate(queries)
    ]


def _similarity(
    result: Evaluation,
    model: Model,
    data: Inspected,
    places: NDArray[Any],
    one: NDArray[Any],
    two: NDArray[Any],
    bootstrap: int,
    seed: int,
) -> list[dict[str, Any]]:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    cosines = (one * two).sum(axis=1) / np.maximum(lengths, 1e-12)
    truth = data.labels[places]
    result.metrics = {
        "spearman": ranking.spearman(truth, cosines),
        "pearson": ranking.pearson(truth, cosines),
    }
    if bootstrap:
        result.intervals["spearman"] = resampling.statistic_interval(
            lambda rows: ranking.spearman(truth[rows], cosines[rows]), len(truth), draws=bootstrap, seed=seed
        )
    return [
        {"row": int(row), "label": float(label), "score": float(score)}
        for row, label, score in zip(data.rows[places], truth, cosines, strict=True)
    ]


def _retrieval(
    model: Model, vectors: NDArray[Any], one: list[int], two: list[int]
) -> dict[str, NDArray[np.float64]]:
    """Figures of each different anchor, in order; an anchor may have several texts."""
    documents = list(dict.fromkeys(two))
    place = {text: i for i, text in enumerate(documents)}
    wanted: dict[int, set[int]] = {}
    for query, text in zip(one, two, strict=True):
        wanted.setdefault(query, set()).add(place[text])
    queries = list(wanted)
    found: dict[str, list[NDArray[np.float64]]] = {}
    for i in range(0, len(queries), _PORTION):
        part = queries[i : i + _PORTION]
        scores = np.asarray(model.similarity(vectors[part], vectors[documents]))
        for row, query in enumerate(part):
            if query in place:  # a text does not find itself
                scores[row, place[query]] = -np.inf
        for name, values in ranking.retrieval(scores, [wanted[query] for query in part]).items():
            found.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in found.items()}


def compare(result: Evaluation, other: Model, data: Inspected, places: NDArray[Any], seed: int) -> None:
    """Adds how the other model does on the same rows."""
    again = Evaluation(task=result.task, model=other.name, data=result.data, rows=result.rows)
    theirs = measure(again, other, data, places, bootstrap=0, seed=seed)
    if data.report.task == "similarity":
        truth = data.labels[places]
        pairs = [
            np.stack([truth, [row["score"] for row in rows]], axis=1) for rows in (result.predictions, theirs)
        ]
        result.comparison["differences"] = [
            resampling.compare_statistic(
                "spearman",
                lambda rows: ranking.spearman(rows[:, 0], rows[:, 1]),
                pairs[0],
                pairs[1],
                seed=seed,
            )
        ]
        return
    result.comparison["differences"] = [
        resampling.compare_means(
            name,
            np.asarray([row[name] for row in result.predictions]),
            np.asarray([row[name] for row in theirs]),
            seed=seed,
        )
        for name in again.metrics
    ]
