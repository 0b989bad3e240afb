"""Figures of rankings and of numbers: NDCG, reciprocal rank, recall, correlation, errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Places from 1 in rising order; equal values share the mean of theirs.

    >>> ranks(np.array([10.0, 30.0, 20.0, 20.0])).tolist()
    [1.0, 4.0, 2.5, 2.5]
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse], dtype=np.float64)


def pearson(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Linear correlation; nan where one of them does not vary."""
    a, b = first - np.mean(first), second - np.mean(second)
    lengths = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / lengths if lengths else float("nan")


def spearman(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Correlation of ranks: whether they rise together.

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 8.0, 27.0]))
    1.0
    """
    return pearson(ranks(first), ranks(second))


def regression(truth: NDArray[Any], found: NDArray[Any]) -> dict[str, float]:
    """Mean absolute and root mean square error, r2 (1 is perfect, 0 the mean's), correlations."""
    errors = found - truth
    spread = float(((truth - truth.mean()) ** 2).sum())
    return {
        "mae": float(np.abs(errors).mean()),
        "rmse": float(np.sqrt((errors**2).mean())),
        "r2": 1 - float((errors**2).sum()) / spread if spread else float("nan"),
        "pearson": pearson(truth, found),
        "spearman": spearman(truth, found),
    }


def ndcg(relevance: NDArray[Any], scores: NDArray[Any], k: int = 10) -> float:
    """The gain of the first k, each less by log2 of its place + 1, as a share of the best order's; 0 without gain.

    >>> round(ndcg(np.array([0.0, 1.0]), np.array([0.9, 0.1])), 4)
    0.6309
    """
    order = np.argsort(-scores, kind="stable")[:k]
    best = np.sort(relevance)[::-1][:k]
    weights = 1 / np.log2(np.arange(2, len(best) + 2))
    ideal = float((best * weights).sum())
    return float((relevance[order] * weights).sum()) / ideal if ideal > 0 else 0.0


def reciprocal_rank(is_relevant: NDArray[Any], scores: NDArray[Any], k: int = 10) -> float:
    """1 over the place of the first relevant one among the first k, else 0."""
    order = np.argsort(-scores, kind="stable")[:k]
    places = np.flatnonzero(is_relevant[order])
    return 1 / (int(places[0]) + 1) if len(places) else 0.0


def retrieval(
    scores: NDArray[Any], relevant: list[set[int]], ks: tuple[int, ...] = (1, 5, 10)
) -> dict[str, NDArray[np.float64]]:
    """For each query (rows of `scores` [queries, documents]) mrr@10, ndcg@10 and recall@k."""
    found: dict[str, list[float]] = {}
    for row, wanted in zip(scores, relevant, strict=True):
        is_relevant = np.zeros(len(row))
        is_relevant[list(wanted)] = 1
        order = np.argsort(-row, kind="stable")[: max(ks)]
        found.setdefault("mrr@10", []).append(reciprocal_rank(is_relevant, row))
        found.setdefault("ndcg@10", []).append(ndcg(is_relevant, row))
        for k in ks:
            share = is_relevant[order[:k]].sum() / max(1, len(wanted))
            found.setdefault(f"recall@{k}", []).append(float(share))
    return {name: np.asarray(values) for name, values in found.items()}


def of_lists(found: NDArray[Any], wanted: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """recall@k and ndcg@k of each row, of lists found [n, k] in which one item is wanted of each; k is at most 10.

    >>> {name: v.round(4).tolist() for name, v in of_lists(np.array([[3, 1], [2, 4]]), np.array([1, 9])).items()}
    {'recall@10': [1.0, 0.0], 'ndcg@10': [0.6309, 0.0]}
    """
    hits = found == wanted[:, None]
    gains = 1 / np.log2(np.arange(2, found.shape[1] + 2))
    return {"recall@10": hits.any(axis=1).astype(np.float64), "ndcg@10": (hits * gains).sum(axis=1)}
