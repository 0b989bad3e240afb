"""CTranslate2 for bench_generate.py: as llama_worker.py, the file's weights in int8; needs transformers and gguf, too.

Converted once, by its own converter, from what transformers reads out of the file.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

import ctranslate2


def converted(path: Path) -> Path:
    """The folder of the model in int8, beside the file."""
    out = path.with_suffix(".ctranslate2-int8")
    if not out.exists():
        import transformers

        folder = path.with_suffix(".safetensors-folder")
        plain = transformers.GgufConfig(dequantize=True)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, quantization_config=plain
        )
        model.save_pretrained(folder)
        transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name).save_pretrained(folder)
        ctranslate2.converters.TransformersConverter(str(folder)).convert(str(out), quantization="int8")
        shutil.rmtree(folder)
    return out


def main() -> None:
    path, threads = Path(sys.argv[1]), int(sys.argv[2])
    folder = converted(path)
    model = ctranslate2.Generator(str(folder), "cpu", compute_type="int8", intra_threads=threads)
    tokens = json.loads((folder / "vocabulary.json").read_text("utf-8"))
    versions = {"ctranslate2": ctranslate2.__version__}
    print(json.dumps({"versions": versions, "precision": "int8"}), flush=True)
    ids: list[int] = []
    for line in sys.stdin:
        question = json.loads(line)
        if "ids" in question:
            ids = question["ids"]
            print("{}", flush=True)
            continue
        prompt, count = question["prompt"], question["count"]
        given = [[tokens[i] for i in ids[at : at + prompt]] for at in range(question["sequences"])]
        begin = time.perf_counter()
        found = model.generate_batch(
            given,
            max_length=count,
            min_length=count,
            sampling_topk=1,
            include_prompt_in_result=False,
        )
        seconds = time.perf_counter() - begin
        texts = [one.sequences_ids[0] for one in found]
        print(json.dumps({"seconds": seconds, "texts": texts}), flush=True)


if __name__ == "__main__":
    main()
