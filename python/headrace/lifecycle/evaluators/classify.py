"""classify: classes against classes, with curves, calibration, slices; or numbers, of a model that regresses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import UnsupportedError
from ..cells import as_number, as_text
from ..evaluation import Evaluation, cells_of, read_rows, timed
from ..inspection import Inspected
from ..metrics import classification, ranking, resampling
from ..scan import DataSettings
from . import slices

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...loaded_model import Model

SLICES = True
_WORST = 50
_CURVE_CLASSES, _CURVE_POINTS = 12, 200


def regresses(model: Model) -> bool:
    """Whether the model answers with a number rather than with classes."""
    return model.info.activation == "identity" and len(model.info.labels) == 1


def read(model: Model, data: str | Path, settings: DataSettings) -> Inspected:
    """The file's rows; their labels must be the model's."""
    if regresses(model):
        return read_rows(data, "regress", settings, None)
    if model.info.activation == "sigmoid":
        raise UnsupportedError("evaluate: of models with several labels a text there are no figures yet")
    return read_rows(data, "classify", settings, model.info.labels)


def scores(model: Model, texts: list[str]) -> NDArray[np.float32]:
    """Probabilities float32 [texts, labels] in the order of `model.info.labels`; long texts are cut."""
    place = {label: i for i, label in enumerate(model.info.labels)}
    found = np.empty((len(texts), len(place)), np.float32)
    for row, labels in zip(found, model.classify(texts, truncate=True, show_progress=False), strict=True):
        for label in labels:
            row[place[label.label]] = label.score
    return found


def measure(
    result: Evaluation, model: Model, data: Inspected, places: NDArray[Any], *, bootstrap: int, seed: int
) -> list[dict[str, Any]]:
    """Fills the result; each row's answer."""
    cells = cells_of(data, places)
    texts = [as_text(text) for text in cells["text"]]
    found, result.speed = timed(
        lambda all_texts: scores(model, all_texts), texts, lambda text: model.classify(text, truncate=True)
    )
    if regresses(model):
        return _measure_numbers(result, data, places, cells, found[:, 0])
    return fill(
        result, data.labels[places].astype(np.int64), found, list(model.info.labels), texts, data.rows[places],
        bootstrap=bootstrap, seed=seed,
        slice_of=[str(value) for value in cells["slice"]] if "slice" in cells else None,
    )  # fmt: skip


def fill(
    result: Evaluation,
    truth: NDArray[Any],
    found: NDArray[Any],
    names: list[str],
    texts: list[str],
    rows: NDArray[Any],
    *,
    bootstrap: int,
    seed: int,
    slice_of: list[str] | None,
) -> list[dict[str, Any]]:
    """The figures of probabilities [rows, classes] against the true classes; each row's answer.

    texts: what a reader is shown of each row; rows: their numbers in the file.
    """
    answers = found.argmax(axis=1)
    matrix = classification.confusion(truth, answers, len(names))
    result.labels, result.confusion = names, matrix.tolist()
    result.metrics = {name: float(value) for name, value in classification.averages(matrix).items()}
    _add_curves(result, truth, found, names)
    if bootstrap:
        result.intervals = resampling.confusion_intervals(matrix, draws=bootstrap, seed=seed)
    each = classification.per_class(matrix)
    result.per_class = {
        name: {figure: float(values[i]) for figure, values in each.items()} for i, name in enumerate(names)
    }
    right, surest = answers == truth, found.max(axis=1)
    curve, error = classification.reliability(right, surest)
    result.calibration = {"ece": error, "curve": curve}
    picked = np.maximum(found[np.arange(len(truth)), truth], 1e-12)
    result.metrics["log_loss"] = float(-np.log(picked).mean())
    if slice_of is not None:
        slices.add(result, truth, answers, slice_of, names)
    wrong = np.flatnonzero(~right)
    for i in wrong[np.argsort(-surest[wrong], kind="stable")][:_WORST]:
        result.mistakes.append(
            {"row": int(rows[i]), "text": texts[i], "label": names[truth[i]], "found": names[answers[i]],
             "score": float(surest[i])}
        )  # fmt: skip
    return [
        {"row": int(rows[i]), "label": names[truth[i]], "found": names[answers[i]], "score": float(surest[i])}
        for i in range(len(texts))
    ]


def _add_curves(result: Evaluation, truth: NDArray[Any], found: NDArray[Any], names: list[str]) -> None:
    areas: dict[str, list[float]] = {"roc_auc": [], "average_precision": []}
    for i in range(len(names)):
        is_true = truth == i
        areas["roc_auc"].append(classification.roc_auc(is_true, found[:, i]))
        areas["average_precision"].append(classification.average_precision(is_true, found[:, i]))
        if i < _CURVE_CLASSES and is_true.any() and not is_true.all():
            result.curves[names[i]] = {
                "roc": _thinned(classification.roc_curve(is_true, found[:, i])),
                "precision_recall": _thinned(classification.precision_recall_curve(is_true, found[:, i])),
            }
    for name, values in areas.items():
        known = [value for value in values if np.isfinite(value)]
        result.metrics[f"{name}_macro"] = float(np.mean(known)) if known else float("nan")


def _thinned(points: tuple[NDArray[Any], NDArray[Any]]) -> list[list[float]]:
    chosen = np.unique(np.linspace(0, len(points[0]) - 1, _CURVE_POINTS).astype(int))
    return [axis[chosen].round(5).tolist() for axis in points]


def _measure_numbers(
    result: Evaluation,
    data: Inspected,
    places: NDArray[Any],
    cells: dict[str, list[Any]],
    found: NDArray[Any],
) -> list[dict[str, Any]]:
    truth = np.asarray([as_number(value) for value in cells["label"]])
    result.metrics = ranking.regression(truth, found.astype(np.float64))
    rows = data.rows[places]
    return [
        {"row": int(row), "label": float(one), "found": float(other)}
        for row, one, other in zip(rows, truth, found, strict=True)
    ]


def compare(result: Evaluation, other: Model, data: Inspected, places: NDArray[Any], seed: int) -> None:
    """Adds how the other model does on the same rows."""
    texts = [as_text(text) for text in cells_of(data, places)["text"]]
    if regresses(other) or not result.labels:
        raise UnsupportedError("compare: of models that give numbers there is no comparison yet")
    theirs = scores(other, texts).argmax(axis=1)
    # A label that only the other model has is one more class, wrong on every row.
    names = [*result.labels, *(label for label in other.info.labels if label not in result.labels)]
    numbers = {name: i for i, name in enumerate(names)}
    second = np.asarray([numbers[other.info.labels[i]] for i in theirs])
    truth = data.labels[places].astype(np.int64)
    answers = np.asarray([numbers[row["found"]] for row in result.predictions])
    found = resampling.compare_classes(truth, answers, second, len(names), seed=seed)
    result.comparison["differences"] = list(found.values())
    result.comparison["mcnemar_p"] = resampling.mcnemar(answers == truth, second == truth)
