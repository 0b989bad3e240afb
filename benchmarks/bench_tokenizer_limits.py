"""What a tokenizer costs before its first text, and on the worst text: loading, memory, a megabyte of one letter.

Loading and memory are those of a process of its own for each library and family, the median of several. Worst cases:
the time for 1 MB of one thing against that for half of it; twice is linear.

    HEADRACE_SHARED=... python benchmarks/bench_tokenizer_limits.py
    HEADRACE_SHARED=... python benchmarks/bench_tokenizer_limits.py --families llama3 minilm --bytes 500000
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness
from bench_tokenizers import FAMILIES, prepared

# Loads one tokenizer and says how long that took and how much memory it keeps.
_LOADING = """
import json, sys, time
library, path = sys.argv[1:]
def resident():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS:")) / 1024
if library == "headrace":
    from headrace._core import Tokenizer
else:
    from tokenizers import Tokenizer
before, start = resident(), time.perf_counter()
tokenizer = Tokenizer.from_file(path)
seconds = time.perf_counter() - start
print(json.dumps({"ms": seconds * 1000, "mb": resident() - before}))
"""


def loading(library: str, path: Path, rounds: int) -> dict[str, Any]:
    answers = []
    for _ in range(rounds):
        done = subprocess.run(
            [sys.executable, "-c", _LOADING, library, str(path)], capture_output=True, text=True, check=True
        )
        answers.append(json.loads(done.stdout))
    return {
        "load_ms": harness.spread([answer["ms"] for answer in answers], 1),
        "memory_mb": round(harness.percentile([answer["mb"] for answer in answers], 0.5), 1),
    }


def worst_texts(size: int) -> dict[str, str]:
    letters = random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=size)
    return {
        "one letter": "a" * size,
        "spaces": " " * size,
        "one emoji": "\U0001f600" * (size // 4),
        "random letters": "".join(letters),
    }


def worst_cases(tokenizer: Any, size: int, rounds: int) -> dict[str, dict[str, float]]:
    """Seconds for each text, and how many times those for its first half."""

    def best(text: str) -> float:
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            tokenizer.count(text, add_special_tokens=False)
            times.append(time.perf_counter() - start)
        return min(times)

    found = {}
    for name, text in worst_texts(size).items():
        half, whole = best(text[: len(text) // 2]), best(text)
        found[name] = {"ms": round(whole * 1000, 2), "times_half": round(whole / half, 2)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = os.environ.get("HEADRACE_SHARED", "")
    parser.add_argument("--vocabularies", type=Path, default=Path(shared) / "tokenizers")
    parser.add_argument("--families", nargs="+", default=FAMILIES)
    parser.add_argument("--bytes", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    from headrace import Tokenizer

    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        for family in arguments.families:
            path = prepared(arguments.vocabularies / family, Path(scratch)) / "tokenizer.json"
            line: dict[str, Any] = {
                "family": family,
                "tokens": Tokenizer.from_file(path).vocab_size,
                "unit": "ms",
            }
            for library in ("headrace", "tokenizers"):
                line[library] = loading(library, path, arguments.rounds)
            line["worst"] = worst_cases(Tokenizer.from_file(path), arguments.bytes, arguments.rounds)
            line["bytes"] = arguments.bytes
            line["holds"] = {
                "memory at most a third": line["headrace"]["memory_mb"] * 3
                <= line["tokenizers"]["memory_mb"],
                "twice the text at most 2.3 times the time": all(
                    case["times_half"] <= 2.3 for case in line["worst"].values()
                ),
            }
            line["versions"] = harness.versions("headrace", "tokenizers")
            lines.append(line)
    harness.write("tokenizer_limits", lines, arguments.out)


if __name__ == "__main__":
    main()
