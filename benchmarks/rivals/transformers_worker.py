"""transformers for bench_generate.py: as llama_worker.py, the file's weights as bf16 in torch; needs gguf, too."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
import transformers


def main() -> None:
    path, threads = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent,
        gguf_file=path.name,
        dtype=torch.bfloat16,
        quantization_config=transformers.GgufConfig(dequantize=True),  # ten times as fast as in blocks
    ).eval()
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    print(json.dumps({"versions": versions, "precision": "bf16"}), flush=True)
    ids: list[int] = []
    for line in sys.stdin:
        question = json.loads(line)
        if "ids" in question:
            ids = question["ids"]
            print("{}", flush=True)
            continue
        prompt = question["prompt"]
        given = torch.tensor([ids[i : i + prompt] for i in range(question["sequences"])])
        begin = time.perf_counter()
        with torch.inference_mode():
            found = model.generate(
                given,
                attention_mask=torch.ones_like(given),
                max_new_tokens=question["count"],
                min_new_tokens=question["count"],
                do_sample=False,
                pad_token_id=0,
            )
        seconds = time.perf_counter() - begin
        print(json.dumps({"seconds": seconds, "texts": found[:, prompt:].tolist()}), flush=True)


if __name__ == "__main__":
    main()
