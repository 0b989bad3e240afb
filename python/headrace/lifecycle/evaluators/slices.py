"""Figures of parts of the rows, and how far apart they are: where a model is weak, and whom it treats worse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..metrics import classification

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..evaluation import Evaluation

_MOST = 50


def add(
    result: Evaluation, truth: NDArray[Any], answers: NDArray[Any], values: list[str], names: list[str]
) -> None:
    """Adds accuracy, macro recall and F1 of each value's rows, the largest first, and the gaps between them.

    Gaps: the largest less the smallest accuracy and macro recall; `selection` the largest difference, over classes, of
    how often it is found (demographic parity); `recall` the largest difference of its recall (equal opportunity).
    """
    column = np.asarray(values)
    kinds, counts = np.unique(column, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    if len(order) > _MOST:
        result.notes.append(f"{len(order)} slices; the {_MOST} largest are told")
    shares, recalls = [], []
    for i in order[:_MOST]:
        chosen = column == kinds[i]
        matrix = classification.confusion(truth[chosen], answers[chosen], len(names))
        means = classification.averages(matrix)
        result.slices[str(kinds[i])] = {
            "rows": float(counts[i]),
            **{name: float(means[name]) for name in ("accuracy", "recall_macro", "f1_macro")},
        }
        shares.append(matrix.sum(axis=0) / counts[i])
        support = matrix.sum(axis=1)
        recall = classification.per_class(matrix)["recall"]
        recalls.append(np.where(support > 0, recall, np.nan))
    if len(shares) > 1:
        for name in ("accuracy", "recall_macro"):
            figures = [row[name] for row in result.slices.values()]
            result.gaps[name] = max(figures) - min(figures)
        result.gaps["selection"] = float(np.ptp(np.stack(shares), axis=0).max())
        stacked = np.stack(recalls)
        told = (~np.isnan(stacked)).sum(axis=0) > 1
        if told.any():
            spread = np.nanmax(stacked[:, told], axis=0) - np.nanmin(stacked[:, told], axis=0)
            result.gaps["recall"] = float(spread.max())
