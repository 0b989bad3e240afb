"""transformers for bench_generate.py: as llama_worker.py, the file's weights as bf16 in torch; needs gguf, too."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from answering import Texts, answer


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

    def prepare(prompts: list[list[int]], count: int) -> Callable[[], Texts]:
        given = torch.tensor(prompts)

        def write() -> Texts:
            with torch.inference_mode():
                found = model.generate(
                    given,
                    attention_mask=torch.ones_like(given),
                    max_new_tokens=count,
                    min_new_tokens=count,
                    do_sample=False,
                    pad_token_id=0,
                )
            texts: Texts = found[:, given.shape[1] :].tolist()
            return texts

        return write

    answer({"versions": versions, "precision": "bf16"}, prepare)


if __name__ == "__main__":
    main()
