"""Figures of several labels a row; definitions are those of scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .classification import average_precision, roc_auc

if TYPE_CHECKING:
    from numpy.typing import NDArray

THRESHOLD = 0.5


def counts(truth: NDArray[Any], scores: NDArray[Any]) -> NDArray[np.int64]:
    """Of each label: rows that have it and were found, that were found without, and that have it and were missed;
    int64 [3, labels]. truth bool, scores [rows, labels]."""
    found = scores >= THRESHOLD
    return np.stack([(truth & found).sum(0), (~truth & found).sum(0), (truth & ~found).sum(0)])


def _figures(right: Any, wrong: Any, missed: Any) -> dict[str, Any]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "precision": np.nan_to_num(right / (right + wrong)),
            "recall": np.nan_to_num(right / (right + missed)),
            "f1": np.nan_to_num(2 * right / (2 * right + wrong + missed)),
        }


def per_label(truth: NDArray[Any], scores: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Precision, recall, F1 and support of each label; 0 where there is nothing to divide by."""
    found = _figures(*counts(truth, scores).astype(np.float64))
    return {**found, "support": truth.sum(axis=0).astype(np.float64)}


def summary(truth: NDArray[Any], scores: NDArray[Any]) -> dict[str, float]:
    """accuracy (all labels of a row right), hamming_loss, precision, recall and F1, macro and micro.

    >>> found = summary(np.array([[True, False], [True, True]]), np.array([[0.9, 0.1], [0.8, 0.2]]))
    >>> found["accuracy"], found["recall_micro"].__round__(4)
    (0.5, 0.6667)
    """
    found = scores >= THRESHOLD
    values = {
        "accuracy": float((found == truth).all(axis=1).mean()),
        "hamming_loss": float((found != truth).mean()),
    }
    each = per_label(truth, scores)
    micro = _figures(*counts(truth, scores).sum(axis=1).astype(np.float64))
    for name in ("precision", "recall", "f1"):
        values[f"{name}_macro"] = float(each[name].mean())
        values[f"{name}_micro"] = float(micro[name])
    return values


def areas(truth: NDArray[Any], scores: NDArray[Any]) -> dict[str, float]:
    """Macro means, over the labels that some rows have and some have not, of ROC AUC and average precision."""
    chosen = [i for i in range(truth.shape[1]) if truth[:, i].any() and not truth[:, i].all()]
    if not chosen:
        return {}
    return {
        "roc_auc_macro": float(np.mean([roc_auc(truth[:, i], scores[:, i]) for i in chosen])),
        "average_precision_macro": float(
            np.mean([average_precision(truth[:, i], scores[:, i]) for i in chosen])
        ),
    }
