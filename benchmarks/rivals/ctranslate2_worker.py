"""CTranslate2 for bench_generate.py: as llama_worker.py, the file's weights in int8; needs transformers and gguf, too.

Converted once, by its own converter, from what transformers reads out of the file.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import ctranslate2
from answering import Texts, answer


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

    def prepare(prompts: list[list[int]], count: int) -> Callable[[], Texts]:
        given = [[tokens[i] for i in prompt] for prompt in prompts]

        def write() -> Texts:
            found = model.generate_batch(
                given,
                max_length=count,
                min_length=count,
                sampling_topk=1,
                include_prompt_in_result=False,
            )
            return [one.sequences_ids[0] for one in found]

        return write

    answer({"versions": versions, "precision": "int8"}, prepare)


if __name__ == "__main__":
    main()
