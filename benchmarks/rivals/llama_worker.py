"""llama.cpp for bench_generate.py: reads questions as JSON lines, writes answers; needs llama-cpp-python alone."""

from __future__ import annotations

import json
import sys
import time

import llama_cpp


def main() -> None:
    path, threads = sys.argv[1], int(sys.argv[2])
    model = llama_cpp.Llama(
        path, n_ctx=2048, n_batch=512, n_threads=threads, n_threads_batch=threads, verbose=False
    )
    ids: list[int] = []
    for line in sys.stdin:
        question = json.loads(line)
        if "text" in question:
            ids = model.tokenize(question["text"].encode())
            print(json.dumps({"version": llama_cpp.__version__}), flush=True)
            continue
        model.reset()
        begin = time.perf_counter()
        generated = model.generate(ids[: question["prompt"]], temp=0.0)
        tokens = [next(generated) for _ in range(question["count"])]
        print(json.dumps({"seconds": time.perf_counter() - begin, "tokens": tokens}), flush=True)


if __name__ == "__main__":
    main()
