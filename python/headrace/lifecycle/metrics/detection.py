"""How good boxes are that a detector finds in pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Of one picture: a label and a box (x1, y1, x2, y2) for each thing; of what was found, the score between them.
Found = Sequence[tuple[str, float, Sequence[float]]]
Truth = Sequence[tuple[str, Sequence[float]]]


def mean_average_precision(found: Sequence[Found], truth: Sequence[Truth], min_overlap: float = 0.5) -> float:
    """The mean, over the classes that occur in `truth`, of the area below the precision-recall curve, precision at each
    recall being the best at that or a higher one (PASCAL VOC since 2010; Everingham et al. 2015, section 4.2).

    Args:
        found, truth: for each picture. Best first, a box that was found is right if the true one of its class that it
            overlaps most does so by at least `min_overlap` (intersection over union) and was not met before.

    nan where `truth` holds no box.

    >>> from headrace.lifecycle.metrics.detection import mean_average_precision
    >>> truth = [[("cat", (0, 0, 10, 10)), ("dog", (20, 0, 30, 10))]]
    >>> mean_average_precision([[("cat", 0.9, (0, 0, 10, 9)), ("cat", 0.8, (20, 0, 30, 10))]], truth)
    0.5
    """
    labels = sorted({label for picture in truth for label, _ in picture})
    areas = [_average_precision(label, found, truth, min_overlap) for label in labels]
    return float(np.mean(areas)) if areas else float("nan")


def overlaps(box: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union of a box (x1, y1, x2, y2) with each of `others`, [n, 4]."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    inter = np.maximum(sides, 0).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1) + (box[2] - box[0]) * (box[3] - box[1]) - inter
    return np.asarray(inter / np.maximum(areas, 1e-12), dtype=np.float64)


def _average_precision(
    label: str, found: Sequence[Found], truth: Sequence[Truth], min_overlap: float
) -> float:
    boxes = [
        np.array([box for name, box in picture if name == label], dtype=np.float64).reshape(-1, 4)
        for picture in truth
    ]
    is_met = [np.zeros(len(each), dtype=bool) for each in boxes]
    ranked = sorted(
        ((score, i, box) for i, picture in enumerate(found) for name, score, box in picture if name == label),
        key=lambda each: -each[0],
    )
    is_right = np.zeros(len(ranked), dtype=bool)
    for place, (_, i, box) in enumerate(ranked):
        if not len(boxes[i]):
            continue
        overlap = overlaps(np.asarray(box, dtype=np.float64), boxes[i])
        best = int(overlap.argmax())
        is_right[place] = overlap[best] >= min_overlap and not is_met[i][best]
        is_met[i][best] |= is_right[place]
    hits = np.cumsum(is_right)
    precision = hits / np.arange(1, len(ranked) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best_from_here[is_right].sum() / sum(map(len, boxes)))
