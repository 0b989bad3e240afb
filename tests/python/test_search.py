"""VectorIndex and similarity against numpy, on every kernel table; ties, limits, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import headrace
from headrace import _core

METRICS = ("cosine", "dot", "euclidean", "manhattan")
DISTANCES = ("euclidean", "manhattan")


def reference(queries: np.ndarray, vectors: np.ndarray, metric: str) -> np.ndarray:
    """All scores in double precision; larger is better."""
    q, v = queries.astype(np.float64), vectors.astype(np.float64)
    if metric == "euclidean":
        return -np.linalg.norm(q[:, None] - v[None], axis=2)
    if metric == "manhattan":
        return -np.abs(q[:, None] - v[None]).sum(2)
    if metric == "cosine":
        q /= np.maximum(np.linalg.norm(q, axis=1, keepdims=True), 1e-12)
        v /= np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12)
    return q @ v.T


def random_case(n: int, d: int, q: int) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(n * 1000 + d)
    return chance.standard_normal((n, d), np.float32), chance.standard_normal((q, d), np.float32)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("n", "d", "q", "k"),
    [(1, 1, 1, 1), (7, 3, 2, 7), (300, 33, 130, 10), (1025, 64, 5, 1025), (4000, 5, 1, 3)],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_the_nearest_are_numpy_s(metric: str, n: int, d: int, q: int, k: int, threads: int) -> None:
    vectors, queries = random_case(n, d, q)
    expected = reference(queries, vectors, metric)
    found = headrace.VectorIndex(vectors, metric=metric, threads=threads).search(queries, k)
    assert found.indices.shape == found.scores.shape == (q, k)
    assert found.indices.dtype == np.int64
    assert found.scores.dtype == np.float32
    scores = np.take_along_axis(expected, found.indices, 1)
    best = -np.sort(-expected, axis=1)[:, :k]
    tolerance = 2e-5 * max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(scores, best, rtol=0, atol=tolerance)  # as good as the best there are
    told = -found.scores if metric in DISTANCES else found.scores
    # near 0 a distance is the root of a difference of squares
    np.testing.assert_allclose(
        told, scores, rtol=0, atol=max(tolerance, 3e-3 if metric == "euclidean" else 0)
    )
    assert all(len(set(row)) == k for row in found.indices.tolist())
    assert (np.diff(told, axis=1) <= 0).all()


@pytest.mark.parametrize("metric", METRICS)
def test_of_equal_scores_the_lower_index_comes_first(metric: str) -> None:
    vectors = np.tile(np.eye(3, dtype=np.float32), (700, 1))  # every third vector is the same
    for threads in (1, 2):
        index = headrace.VectorIndex(vectors, metric=metric, threads=threads)
        for query in range(3):
            found = index.search(np.eye(3, dtype=np.float32)[query], k=500).indices[0]
            np.testing.assert_array_equal(found, np.arange(query, 1500, 3))


@pytest.mark.parametrize("metric", METRICS)
def test_a_query_s_result_does_not_depend_on_company_or_threads(metric: str) -> None:
    vectors, queries = random_case(3000, 48, 300)
    one, two = (headrace.VectorIndex(vectors, metric=metric, threads=threads) for threads in (1, 2))
    together = one.search(queries, 20)
    for found in (two.search(queries, 20), two.search(queries[::-1], 20)):
        order = slice(None) if found.indices[0, 0] == together.indices[0, 0] else slice(None, None, -1)
        np.testing.assert_array_equal(found.indices[order], together.indices)
        np.testing.assert_array_equal(found.scores[order], together.scores)
    for i in (0, 17, 299):
        alone = two.search(queries[i], 20)
        np.testing.assert_array_equal(alone.indices[0], together.indices[i])
        np.testing.assert_array_equal(alone.scores[0], together.scores[i])


_ON_A_TABLE = """
import numpy as np, headrace
chance = np.random.default_rng(5)
vectors, queries = chance.standard_normal((500, 40), np.float32), chance.standard_normal((9, 40), np.float32)
for metric in ("cosine", "dot", "euclidean", "manhattan"):
    print(headrace.isa(), headrace.VectorIndex(vectors, metric=metric, threads=1).search(queries, 5).indices.tolist())
"""


def test_every_table_finds_the_same() -> None:
    told = set()
    for isa in _core.runnable_isas():
        run = subprocess.run(
            [sys.executable, "-c", _ON_A_TABLE],
            env={**os.environ, "HEADRACE_ISA": isa},
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.startswith(isa)
        told.add(run.stdout.replace(isa, ""))
    assert len(told) == 1


@pytest.mark.parametrize("metric", METRICS)
def test_similarity_is_the_whole_matrix(metric: str) -> None:
    vectors, queries = random_case(270, 17, 140)
    expected = reference(queries, vectors, metric)
    told = headrace.similarity(queries, vectors, metric=metric)
    assert told.shape == (140, 270)
    np.testing.assert_allclose(told, -expected if metric in DISTANCES else expected, rtol=0, atol=1e-4)
    own = headrace.similarity(vectors[:5])
    np.testing.assert_allclose(np.diag(own), 1, atol=1e-6)


def test_embeddings_of_the_demo_model_find_each_other() -> None:
    with headrace.load("demo:minilm") as model:
        index = headrace.VectorIndex(
            model.embed(["The mill turns.", "Markets fell.", "Water drives a wheel."])
        )
        assert index.search(model.embed("Stocks went down."), k=1).indices.tolist() == [[1]]


def test_lists_float64_and_strided_arrays_are_taken() -> None:
    vectors, queries = random_case(50, 8, 4)
    expected = headrace.VectorIndex(vectors).search(queries, 3).indices
    wide = np.repeat(vectors, 2, axis=1)[:, ::2]
    for given in (vectors.tolist(), vectors.astype(np.float64), wide, np.asfortranarray(vectors)):
        np.testing.assert_array_equal(
            headrace.VectorIndex(given).search(queries.tolist(), 3).indices, expected
        )


def test_a_vector_of_zeros_is_like_nothing() -> None:
    told = headrace.similarity([[0.0, 0.0], [1.0, 0.0]], [[1.0, 1.0]])
    assert told[0, 0] == 0
    assert np.isfinite(told).all()


def test_threads_may_search_at_the_same_time() -> None:
    vectors, queries = random_case(2000, 16, 64)
    index = headrace.VectorIndex(vectors, threads=2)
    expected = index.search(queries, 5).indices
    found: list[np.ndarray] = []
    workers = [
        threading.Thread(target=lambda: found.append(index.search(queries, 5).indices)) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 4
    assert all(np.array_equal(indices, expected) for indices in found)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i: headrace.VectorIndex([]), r"vectors has the shape \[0\]"),
        (lambda i: headrace.VectorIndex(np.zeros((2, 2, 2))), r"shape \[2, 2, 2\]"),
        (lambda i: headrace.VectorIndex([["a"]]), "must be a matrix of numbers"),
        (lambda i: headrace.VectorIndex([[1.0, 2.0], [3.0]]), "must be a matrix of numbers"),
        (lambda i: headrace.VectorIndex([[1.0, float("nan")]]), r"vectors\[0, 1\] is infinite or NaN"),
        (lambda i: headrace.VectorIndex([[1.0]], metric="l1"), "'cosine', 'dot', 'euclidean' or 'manhattan'"),
        (lambda i: headrace.VectorIndex([[1.0]], threads=0), "threads"),
        (lambda i: i.search([1.0, 2.0, 3.0], 1), "the index has vectors of 2"),
        (lambda i: i.search([1.0, float("inf")], 1), r"queries\[0, 1\] is infinite or NaN"),
        (lambda i: i.search([1.0, 2.0], 0), "k=0: must be between 1 and 3"),
        (lambda i: i.search([1.0, 2.0], 4), "k=4: must be between 1 and 3"),
        (lambda i: headrace.similarity([[1.0, 2.0]], [[1.0]]), "the index has vectors of 1"),
    ],
)
def test_what_is_wrong_is_said(call: object, message: str) -> None:
    index = headrace.VectorIndex([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    with pytest.raises(headrace.InvalidArgumentError, match=message):
        call(index)  # type: ignore[operator]
