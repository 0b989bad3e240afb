"""Nearest of many vectors, exactly: headrace.VectorIndex, numpy (product, argpartition, sort) and faiss's IndexFlatIP.

    python benchmarks/bench_search.py --vectors 100000 --dimensions 384 --queries 1,32,256

One process for each number of threads, pinned to as many processors. All engines hold the same random vectors and
take turns, another one first in each round. Before anything is timed their answers are compared: the same indices,
but where two scores are equal to seven digits. Building the index is not timed; numpy is given the vectors as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--queries", default="1,32,256", help="queries a search (default %(default)s)")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(options)))
        return
    lines: list[dict[str, Any]] = []
    for threads in map(int, options.threads.split(",")):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        arguments = [argument for argument in sys.argv[1:] if not argument.startswith("--threads")]
        done = subprocess.run(
            [sys.executable, __file__, *arguments, "--threads", str(threads), "--worker"],
            env={**os.environ, **dict.fromkeys(names, str(threads))},
            stdout=subprocess.PIPE,
            check=True,
        )
        lines += json.loads(done.stdout)
    harness.write("search", lines, options.out)


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The lines of one number of threads."""
    threads = int(options.threads)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    import numpy as np

    chance = np.random.default_rng(20261125)
    vectors = chance.standard_normal((options.vectors, options.dimensions), dtype=np.float32)
    searches = engines(vectors, options.k, threads)
    lines = []
    for count in map(int, options.queries.split(",")):
        queries = chance.standard_normal((count, options.dimensions), dtype=np.float32)
        expected = searches["numpy"](queries)
        exact = {
            name: agree(search(queries), expected, queries, vectors) for name, search in searches.items()
        }
        seconds: dict[str, list[float]] = {name: [] for name in searches}
        names = list(searches)
        for turn in range(options.rounds):
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                start = time.perf_counter()
                searches[name](queries)
                seconds[name].append(time.perf_counter() - start)
        for name in names:
            times = harness.spread([1e3 * value for value in seconds[name]])
            work = 2e-9 * options.vectors * options.dimensions * count
            lines.append(
                {
                    "engine": name, "vectors": options.vectors, "dimensions": options.dimensions,
                    "queries": count, "k": options.k, "threads": threads, "unit": "ms", **times,
                    "gflops": round(work / (times["median"] * 1e-3), 1), "same_indices": exact[name],
                    "isa": harness.core().isa(),
                    "versions": harness.versions("headrace", "numpy", "faiss-cpu"),
                }
            )  # fmt: skip
    return lines


def engines(vectors: Any, k: int, threads: int) -> dict[str, Callable[[Any], Any]]:
    """By name: queries -> indices [q, k], by the largest product."""
    import numpy as np

    import headrace

    index = headrace.VectorIndex(vectors, metric="dot", threads=threads)

    def with_numpy(queries: Any) -> Any:
        scores = queries @ vectors.T
        best = np.argpartition(-scores, k, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable")
        return np.take_along_axis(best, order, 1)

    found: dict[str, Callable[[Any], Any]] = {
        "headrace": lambda queries: index.search(queries, k).indices,
        "numpy": with_numpy,
    }
    try:
        import faiss
    except ImportError:
        print("bench_search: faiss is missing: pip install faiss-cpu", file=sys.stderr)
        return found
    faiss.omp_set_num_threads(threads)
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    found["faiss.IndexFlatIP"] = lambda queries: flat.search(queries, k)[1]
    return found


def agree(found: Any, expected: Any, queries: Any, vectors: Any) -> float:
    """The share of equal indices; fails unless the others' scores are as good to seven digits."""
    import numpy as np

    different = found != expected
    rows, places = np.nonzero(different)
    a = np.einsum("ij,ij->i", queries[rows].astype(np.float64), vectors[found[rows, places]])
    b = np.einsum("ij,ij->i", queries[rows].astype(np.float64), vectors[expected[rows, places]])
    assert np.allclose(a, b, rtol=1e-5, atol=1e-4), "another answer"
    return round(1 - float(different.mean()), 6)


if __name__ == "__main__":
    main()
