"""Seconds and memory of one long text: 1,024, 2,048, 4,096 and 8,192 tokens through a BERT-base shape.

Each length in a process of its own, whose largest resident memory is read at its end: less that after loading
it is what the text took. In linear memory it doubles with the length; attention's time grows with the square.

    python benchmarks/bench_long.py
    python benchmarks/bench_long.py --tokens 1024 8192 --precisions f32 --rounds 1
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from pathlib import Path
from typing import Any

import harness
import shapes

SHAPE = "bert-base-8k"


def _resident_mb(name: str) -> float:
    """VmRSS or VmHWM of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"/proc/self/status has no {name}")


def one(model: str, tokens: int, precision: str, threads: int, rounds: int, answers: Any) -> None:
    """In a process of its own: loads, embeds a text of so many tokens, says what it took."""
    import numpy as np

    import headrace

    with headrace.load(model, precision=precision, threads=threads) as loaded:
        text = " ".join(["wheel"] * (tokens - 2))  # one token each, and two special ones
        assert loaded.tokenizer.count(text) == tokens
        loaded.embed("a short text")
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
        before = _resident_mb("VmRSS")
        seconds = []
        for _ in range(rounds):
            start = time.perf_counter()
            [vector] = loaded.embed(text)
            seconds.append(time.perf_counter() - start)
        assert np.isfinite(vector).all()
        answers.put({"seconds": seconds, "before_mb": before, "peak_mb": _resident_mb("VmHWM")})


def run(tokens: int, precision: str, threads: int, rounds: int) -> dict[str, Any]:
    """A result line for one length."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    arguments = (str(shapes.folder(SHAPE)), tokens, precision, threads, rounds, answers)
    process = context.Process(target=one, args=arguments)
    process.start()
    told = answers.get(timeout=300)
    process.join(30)
    return {
        "engine": "headrace",
        "model": SHAPE,
        "tokens": tokens,
        "precision": precision,
        "threads": threads,
        "unit": "s",
        **harness.spread(told["seconds"]),
        "tokens_per_second": round(tokens / statistics.median(told["seconds"])),
        "loaded_mb": round(told["before_mb"], 1),
        "peak_mb": round(told["peak_mb"], 1),
    }


def main() -> None:
    parser = harness.parser("long", __doc__)
    parser.add_argument("--tokens", nargs="+", type=int, default=[1024, 2048, 4096, 8192])
    parser.add_argument("--precisions", nargs="+", default=["f32", "int8"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    for precision in arguments.precisions:
        for tokens in arguments.tokens:
            line = run(tokens, precision, arguments.threads, arguments.rounds)
            harness.write("long", [line], arguments.out)


if __name__ == "__main__":
    main()
