"""Nearest vectors in memory: exact, blocked, on all cores, without a matrix of all scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from . import _core
from .errors import InvalidArgumentError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

Metric = Literal["cosine", "dot", "euclidean", "manhattan"]


class Neighbours(NamedTuple):
    """What a search found: `indices` int64 [q, k] and `scores` float32 [q, k], best first."""

    indices: NDArray[np.int64]
    scores: NDArray[np.float32]


def _matrix(values: ArrayLike, name: str) -> NDArray[np.float32]:
    """float32 [rows, columns]; one vector is a row."""
    import numpy as np

    try:
        matrix = np.ascontiguousarray(values, np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"{name}: must be a matrix of numbers: {error}") from None
    if np.ndim(values) == 1:
        matrix = matrix.reshape(1, -1)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise InvalidArgumentError(f"{name} has the shape {list(np.shape(values))}; give a matrix [n, d]")
    return matrix


class VectorIndex:
    """A matrix of vectors to be searched; it keeps a copy of them, in the layout that the processor likes.

    Args:
        vectors: float32 [n, d], such as `model.embed` gives.
        metric: "cosine", "dot" (of both larger is nearer), "euclidean" or "manhattan" (smaller is nearer).
        threads: threads that search; by default every processor the process may use.

    Raises InvalidArgumentError: no matrix, or a number that is infinite or NaN.

    >>> import headrace
    >>> index = headrace.VectorIndex([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> index.search([0.9, 0.1], k=2).indices
    array([[0, 2]])
    """

    def __init__(self, vectors: ArrayLike, *, metric: Metric = "cosine", threads: int | None = None) -> None:
        self._core = _core.VectorIndex(_matrix(vectors, "vectors"), metric, threads)
        self.metric = metric

    @property
    def dimensions(self) -> int:
        return self._core.dimensions

    def __len__(self) -> int:
        return self._core.size

    def search(self, queries: ArrayLike, k: int = 10) -> Neighbours:
        """The k nearest vectors of each query, best first; of equal ones the one with the lower index first.

        Args:
            queries: float32 [q, d], or one vector [d], which is a matrix of one row.
            k: between 1 and len(index).

        Returns: `indices` int64 [q, k] and `scores` float32 [q, k]: cosines, products or distances.

        Raises InvalidArgumentError: vectors of another length, k outside its range, infinity or NaN.
        """
        return Neighbours(*self._core.search(_matrix(queries, "queries"), k))

    def scores(self, queries: ArrayLike) -> NDArray[np.float32]:
        """float32 [q, n]: the score of every vector for every query."""
        return self._core.scores(_matrix(queries, "queries"))

    def __repr__(self) -> str:
        return f"VectorIndex({len(self)} vectors of {self.dimensions}, {self.metric})"


def similarity(
    a: ArrayLike, b: ArrayLike | None = None, *, metric: Metric = "cosine", threads: int | None = None
) -> NDArray[np.float32]:
    """float32 [n, m]: how like each row of `a` is to each row of `b`, or to those of `a` itself.

    Args:
        a: float32 [n, d], or one vector [d].
        b: float32 [m, d], or one vector; by default `a`.
        metric: "cosine", "dot", "euclidean" or "manhattan" (both distances).
        threads: by default every processor the process may use.

    Raises InvalidArgumentError: no matrices, lengths that differ, infinity or NaN. For the best few of many use
    VectorIndex, which does not make the whole matrix.

    >>> import headrace
    >>> headrace.similarity([[1.0, 0.0], [0.0, 2.0]], [0.0, 1.0])
    array([[0.],
           [1.]], dtype=float32)
    """
    rows: Any = _matrix(a, "a")
    return VectorIndex(rows if b is None else _matrix(b, "b"), metric=metric, threads=threads).scores(rows)
