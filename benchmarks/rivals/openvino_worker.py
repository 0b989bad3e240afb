"""OpenVINO GenAI for bench_generate.py: as llama_worker.py, by its batching pipeline; needs openvino-genai alone."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import openvino
import openvino_genai as genai
from answering import Texts, answer


def main() -> None:
    path, threads = sys.argv[1], int(sys.argv[2])
    scheduler = genai.SchedulerConfig()
    scheduler.max_num_batched_tokens = 512
    scheduler.max_num_seqs = 32
    scheduler.cache_size = 2
    scheduler.enable_prefix_caching = False
    pipeline = genai.ContinuousBatchingPipeline(path, scheduler, "CPU", {"INFERENCE_NUM_THREADS": threads})

    def prepare(prompts: list[list[int]], count: int) -> Callable[[], Texts]:
        wish = genai.GenerationConfig(max_new_tokens=count, ignore_eos=True, do_sample=False)
        given = [openvino.Tensor(np.array([prompt], np.int64)) for prompt in prompts]
        return lambda: [one.m_generation_ids[0] for one in pipeline.generate(given, [wish] * len(given))]

    answer({"versions": {"openvino-genai": genai.__version__}}, prepare)


if __name__ == "__main__":
    main()
