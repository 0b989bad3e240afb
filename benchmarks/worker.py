"""One engine in one process, driven line by line over stdin and stdout by turns.Worker.

Commands are JSON objects: {"do": "check", "texts": [...], "out": FILE.npy} {"do": "time", "texts": [...]}, or
{"do": "alone", "texts": [...]}: each in a call of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("engine")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--cpus", required=True, help="the CPUs to run on, one per thread: 0,1")
    arguments = parser.parse_args()
    # Before any library reads how many processors there are.
    cpus = {int(cpu) for cpu in arguments.cpus.split(",")}
    os.sched_setaffinity(0, cpus)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(len(cpus))
    # Libraries may print; the answers go to the real stdout alone.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(content: dict[str, object]) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    import numpy as np

    import engines

    engine = engines.make(arguments.engine, arguments.model, len(cpus))
    answer({"about": engine.about})
    for line in sys.stdin:
        command = json.loads(line)
        texts = command["texts"]
        if command["do"] == "alone":
            alone = []
            for text in texts:
                begin = time.perf_counter()
                engine.encode([text])
                alone.append(time.perf_counter() - begin)
            answer({"seconds": alone})
            continue
        wall, cpu = time.perf_counter(), time.process_time()
        vectors = np.asarray(engine.encode(texts))
        seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
        if command["do"] == "check":
            np.save(command["out"], vectors)
        answer({"seconds": seconds, "cpu_seconds": cpu_seconds, "shape": list(vectors.shape)})


if __name__ == "__main__":
    main()
