"""OpenVINO GenAI for bench_generate.py: as llama_worker.py, by its batching pipeline; needs openvino-genai alone."""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import openvino
import openvino_genai as genai


def main() -> None:
    path, threads = sys.argv[1], int(sys.argv[2])
    scheduler = genai.SchedulerConfig()
    scheduler.max_num_batched_tokens = 512
    scheduler.max_num_seqs = 32
    scheduler.cache_size = 2
    scheduler.enable_prefix_caching = False
    pipeline = genai.ContinuousBatchingPipeline(path, scheduler, "CPU", {"INFERENCE_NUM_THREADS": threads})
    print(json.dumps({"versions": {"openvino-genai": genai.__version__}}), flush=True)
    ids: list[int] = []
    for line in sys.stdin:
        question = json.loads(line)
        if "ids" in question:
            ids = question["ids"]
            print("{}", flush=True)
            continue
        prompt, sequences = question["prompt"], question["sequences"]
        wish = genai.GenerationConfig(max_new_tokens=question["count"], ignore_eos=True, do_sample=False)
        given = [openvino.Tensor(np.array([ids[i : i + prompt]], np.int64)) for i in range(sequences)]
        begin = time.perf_counter()
        found = pipeline.generate(given, [wish] * sequences)
        seconds = time.perf_counter() - begin
        texts = [[int(i) for i in one.m_generation_ids[0]] for one in found]
        print(json.dumps({"seconds": seconds, "texts": texts}), flush=True)


if __name__ == "__main__":
    main()
