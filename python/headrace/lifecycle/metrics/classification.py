"""Classes that were found against classes that are true. Definitions are scikit-learn's; tests hold them to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def confusion(truth: NDArray[Any], found: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """int64 [classes, classes]: rows of class i that were found to be j.

    >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    cells = np.bincount(truth.astype(np.int64) * classes + found, minlength=classes * classes)
    return np.asarray(cells.reshape(classes, classes))


def _ratio(top: NDArray[Any], bottom: NDArray[Any]) -> NDArray[np.float64]:
    """top / bottom, and 0 where nothing is to be divided by."""
    empty = np.zeros(np.broadcast_shapes(top.shape, bottom.shape))
    return np.asarray(np.divide(top, bottom, out=empty, where=bottom > 0))


def per_class(matrix: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """precision, recall, f1 float64 [..., classes] of confusion matrices [..., classes, classes], and support."""
    right = np.diagonal(matrix, axis1=-2, axis2=-1).astype(np.float64)
    support = matrix.sum(axis=-1).astype(np.float64)
    found = matrix.sum(axis=-2).astype(np.float64)
    return {
        "precision": _ratio(right, found),
        "recall": _ratio(right, support),
        "f1": _ratio(2 * right, support + found),
        "support": support,
    }


def averages(matrix: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """accuracy and the macro and weighted means, each [...] for matrices [..., classes, classes].

    A macro mean is over the classes that are in the truth or were found, as in scikit-learn; a class that has no row
    has recall 0 there only if it was found.
    """
    each = per_class(matrix)
    total = matrix.sum(axis=(-2, -1)).astype(np.float64)
    seen = (each["support"] + matrix.sum(axis=-2)) > 0
    means = {"accuracy": _ratio(np.trace(matrix, axis1=-2, axis2=-1), total)}
    for name in ("precision", "recall", "f1"):
        means[f"{name}_macro"] = _ratio((each[name] * seen).sum(axis=-1), seen.sum(axis=-1))
        means[f"{name}_weighted"] = _ratio((each[name] * each["support"]).sum(axis=-1), total)
    return means


def summary(truth: NDArray[Any], found: NDArray[Any], classes: int) -> dict[str, float]:
    """The averages as plain numbers.

    >>> summary(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)["recall_macro"]
    0.75
    """
    return {name: float(value) for name, value in averages(confusion(truth, found, classes)).items()}


def roc_curve(is_true: NDArray[Any], scores: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(false positive rate, true positive rate) at each score, from (0, 0) to (1, 1)."""
    hits, misses = _cumulated(is_true, scores)
    return np.r_[0.0, misses / max(1, misses[-1])], np.r_[0.0, hits / max(1, hits[-1])]


def roc_auc(is_true: NDArray[Any], scores: NDArray[Any]) -> float:
    """The area below the ROC curve: how often a true row scores higher than another; nan with one kind of row only.

    >>> roc_auc(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
    0.75
    """
    if is_true.all() or not is_true.any():
        return float("nan")
    x, y = roc_curve(is_true, scores)
    return float(np.trapezoid(y, x))


def precision_recall_curve(
    is_true: NDArray[Any], scores: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(precision, recall) at each score, from the highest down."""
    hits, misses = _cumulated(is_true, scores)
    return hits / (hits + misses), hits / max(1, hits[-1])


def average_precision(is_true: NDArray[Any], scores: NDArray[Any]) -> float:
    """The area below the precision-recall curve, in steps; nan without a true row."""
    if not is_true.any():
        return float("nan")
    precision, recall = precision_recall_curve(is_true, scores)
    return float((np.diff(np.r_[0.0, recall]) * precision).sum())


def _cumulated(
    is_true: NDArray[Any], scores: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """True and other rows that score at least each distinct score, from the highest down."""
    order = np.argsort(-scores, kind="stable")
    ordered, right = scores[order], is_true[order].astype(bool)
    last = np.r_[np.flatnonzero(np.diff(ordered)), len(ordered) - 1]  # of rows with equal scores
    return np.cumsum(right)[last].astype(np.float64), np.cumsum(~right)[last].astype(np.float64)


def reliability(
    right: NDArray[Any], confidence: NDArray[Any], bins: int = 10
) -> tuple[list[dict[str, float]], float]:
    """Bins of equal width with {"confidence", "accuracy", "rows"}, those without rows left out, and the ECE: the mean
    distance of the two, over rows (Naeini et al. 2015)."""
    place = np.clip((np.ceil(confidence * bins) - 1).astype(np.int64), 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    sums = [
        np.bincount(place, weights=values.astype(np.float64), minlength=bins)
        for values in (confidence, right)
    ]
    curve = [
        {
            "confidence": float(sums[0][i] / count[i]),
            "accuracy": float(sums[1][i] / count[i]),
            "rows": int(count[i]),
        }
        for i in range(bins)
        if count[i]
    ]
    error = np.abs(sums[0] - sums[1]).sum() / max(1, len(right))
    return curve, float(error)
