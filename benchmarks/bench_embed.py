"""Texts a second when embedding a list in arrival order, and milliseconds for one text: headrace and its rivals.

Engines are compared within a precision; NAME+sorted is a rival that is given the texts by length.

python benchmarks/bench_embed.py                     # both workloads, 1 and 2 threads, 5 rounds
python benchmarks/bench_embed.py --limit 300 --rounds 3 --engines sentence-transformers onnxruntime
python benchmarks/bench_embed.py --shape bert-base   # 12 layers of 768, random weights
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import engines
import harness
import shapes
import workloads
from turns import Worker

REFERENCE = "sentence-transformers"
DEMO = "minilm"  # what lines call the demo model
MAX_TOKENS = 256
# Largest difference from the reference in any number of any vector before an engine in f32 may be timed: headrace's
# own promise, and what rounding in another order may do. In fewer bits: the least mean cosine.
TOLERANCE = {"headrace": 2e-5, REFERENCE: 0.0}
OTHERS_TOLERANCE = 1e-4
COSINE = {"headrace-bf16": 0.9995, "headrace-int8": 0.997}


def count_tokens(model: Path, texts: list[str]) -> list[int]:
    """Tokens of each text, specials included, however long it is."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return [len(one.ids) for one in tokenizer.encode_batch(texts)]


def gigaflops(model: Path, lengths: list[int]) -> float:
    """Multiplications and additions that the forward needs without padding, in units of 10^9.

    A layer: 2 (4 C^2 + 2 C F) for each token, 4 L^2 C for the attention of a text of L tokens.
    """
    config = json.loads((model / "config.json").read_text())
    c, f, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    linear = sum(lengths) * 2 * (4 * c * c + 2 * c * f)
    attention = sum(4 * length * length * c for length in lengths)
    return layers * (linear + attention) / 1e9


def check(workers: list[Worker], texts: list[str]) -> dict[str, dict[str, float]]:
    """Each engine's largest difference from the reference, and mean cosine; ends the program when one is too far."""
    import numpy as np

    vectors = {}
    with tempfile.TemporaryDirectory() as folder:
        for worker in workers:
            if worker.engine in vectors:
                continue
            out = str(Path(folder) / "vectors.npy")
            worker.turn(do="check", texts=texts, out=out)
            vectors[worker.engine] = np.load(out)
    reference = vectors[REFERENCE]
    differences: dict[str, dict[str, float]] = {}
    for engine, found in vectors.items():
        difference = float(np.abs(found - reference).max())
        cosine = float((found * reference).sum(axis=1).mean())
        differences[engine] = {"difference": difference, "cosine": round(cosine, 6)}
        most = TOLERANCE.get(engine, OTHERS_TOLERANCE)
        if engines.precision_of(engine) == "f32" and not difference <= most:
            raise SystemExit(f"{engine}: differs from {REFERENCE} by {difference}; at most {most}")
        if not cosine >= COSINE.get(engine, 0.9):
            raise SystemExit(f"{engine}: a mean cosine of {cosine} with {REFERENCE}")
    return differences


def run(arguments: argparse.Namespace, workload: str) -> list[dict[str, Any]]:
    model = shapes.folder(arguments.shape) if arguments.shape else harness.model_path(arguments.model)
    texts, source = workloads.load(workload)
    # Longer texts are left out: all engines would cut them, each in its own way.
    counted = zip(texts, count_tokens(model, texts), strict=True)
    fitting = [(text, length) for text, length in counted if length <= MAX_TOKENS][: arguments.limit]
    texts, lengths = [text for text, _ in fitting], [length for _, length in fitting]
    work = gigaflops(model, lengths)
    available = sorted(os.sched_getaffinity(0))
    if max(arguments.threads) > len(available):
        raise SystemExit(f"--threads {max(arguments.threads)}: this process may run on {len(available)} CPUs")
    workers = []
    try:
        for threads in arguments.threads:
            for engine in arguments.engines:
                workers.append(Worker(engine, model, available[-threads:]))
        # The reference, where it is not timed, is there to check the others.
        judge = [] if REFERENCE in arguments.engines else [Worker(REFERENCE, model, available[-1:])]
        try:
            differences = check([*workers, *judge], texts[:100])
        finally:
            for worker in judge:
                worker.close()
        for worker in workers:
            worker.turn(do="time", texts=texts[: max(64, len(texts) // 5)])  # warm up
        seconds: dict[Worker, list[float]] = {worker: [] for worker in workers}
        alone: dict[Worker, list[float]] = {worker: [] for worker in workers}
        cpu: dict[Worker, list[float]] = {worker: [] for worker in workers}
        for number in range(arguments.rounds):
            # Another starting point each round, so that nothing learns the order; and another first engine.
            start = number * len(texts) // arguments.rounds
            rotated = texts[start:] + texts[:start]
            first = number % len(workers)
            for worker in workers[first:] + workers[:first]:
                answer = worker.turn(do="time", texts=rotated)
                seconds[worker].append(answer["seconds"])
                cpu[worker].append(answer["cpu_seconds"])
                alone[worker] += worker.turn(do="alone", texts=rotated[:20])["seconds"]
    finally:
        for worker in workers:
            worker.close()
    lines = []
    for worker in workers:
        rates = [len(texts) / one for one in seconds[worker]]
        speed = harness.spread([work / one for one in seconds[worker]], 1)["median"]
        line = {
            "engine": worker.engine,
            "model": arguments.shape or arguments.model or DEMO,
            "workload": workload,
            "source": source,
            "texts": len(texts),
            "tokens": sum(lengths),
            "threads": worker.threads,
            "unit": "texts/s",
            **harness.spread(rates, 1),
            "cpu_seconds": harness.spread(cpu[worker])["median"],
            "gflops": speed,
            "precision": engines.precision_of(worker.engine),
            "one_text_ms": harness.spread([one * 1e3 for one in alone[worker]], 3),
            **differences.get(worker.engine, {}),
            **worker.about,
        }
        if worker.engine == "headrace":  # the peak is that of f32
            peak = harness.peak_gflops(worker.about["isa"], worker.threads)
            line["share_of_peak"] = None if peak is None else round(speed / peak, 3)
        lines.append(line)
    return lines


def main() -> None:
    parser = harness.parser("embed", __doc__)
    parser.add_argument(
        "--shape", choices=list(shapes.SHAPES), help="a model of that shape, in place of --model"
    )
    parser.add_argument("--engines", nargs="+", default=engines.NAMES, choices=engines.NAMES)
    parser.add_argument("--workloads", nargs="+", default=list(workloads.NAMES), choices=workloads.NAMES)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=int, default=None, help="only the first LIMIT texts")
    arguments = parser.parse_args()
    for workload in arguments.workloads:
        harness.write("embed", run(arguments, workload), arguments.out)


if __name__ == "__main__":
    main()
