"""A model of the shape of Qwen2.5 0.5B beside what memory gives, 32 texts at once, and a system prompt that is shared.

python benchmarks/bench_streams.py                      # random weights, seed 1, made under build/bench
python benchmarks/bench_streams.py --model demo:smollm2 --precisions auto int8

write_1: tokens a second of one text, behind a prompt of 128, and share_of_read: of the speed at which as many bytes as
the weights take are read from end to end, measured between the same rounds. together_32: tokens a second of 32 texts
of 64 tokens behind prompts of 128 each their own, reading included. first_token_cold and first_token_shared: seconds
to the first token behind 1,000 tokens and 24 of its own, which another request of the tenant has or has not sent.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import harness
from bench_generate import PROMPT, WRITE
from gguf_models import QWEN
from language_engines import Headrace

SYSTEM, OWN = 1000, 24


def main() -> None:
    parser = harness.parser("streams", __doc__)
    parser.add_argument("--precisions", nargs="+", default=["q4", "int8"])
    parser.add_argument("--threads", nargs="+", type=int, default=[2])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    from headrace.repository import resolve

    path = str(resolve(arguments.model)) if arguments.model else str(_random_qwen())
    lines: list[dict[str, Any]] = []
    for threads in arguments.threads:
        for precision in arguments.precisions:
            engine = Headrace(path, threads, precision)
            engine.ids = np.random.default_rng(1).integers(3, 30000, PROMPT + 32).astype(np.int32)
            lines.append(_measure(engine, Path(path).stem, threads, arguments.rounds))
            print(json.dumps(lines[-1]), file=sys.stderr)
            engine.close()
    harness.write("streams", lines, arguments.out)


def _measure(engine: Headrace, model: str, threads: int, rounds: int) -> dict[str, Any]:
    core = harness.core()
    found: dict[str, list[float]] = {}
    for turn in range(rounds):
        read = max(core.time_reading(engine.weight_bytes, threads, 0.5))
        alone = engine.run(PROMPT, 1)[0]
        write = WRITE / (engine.run(PROMPT, WRITE + 1)[0] - alone)
        together = 32 * WRITE / engine.run(PROMPT, WRITE, 32)[0]
        cold = _first_token(engine, f"cold {turn}", turn)
        _first_token(engine, "shared", rounds)
        shared = _first_token(engine, "shared", turn)
        for name, value in {
            "read_gb_s": read,
            "write_1": write,
            "share_of_read": write * engine.weight_bytes / 1e9 / read,
            "together_32": together,
            "first_token_cold": cold,
            "first_token_shared": shared,
            "shared_of_cold": shared / cold,
        }.items():
            found.setdefault(name, []).append(value)
    info = engine.generator.info()
    return {
        "engine": "headrace",
        "model": model,
        "threads": threads,
        "unit": "tokens/s, GB/s, s",
        **{
            name: {"best": round(_best(name, values), 3), **harness.spread(values, 3)}
            for name, values in found.items()
        },
        "precision": info["precision"],
        "isa": info["isa"],
        "weight_bytes": engine.weight_bytes,
    }


def _best(name: str, values: list[float]) -> float:
    return (
        min(values) if name in ("first_token_cold", "first_token_shared", "shared_of_cold") else max(values)
    )


def _first_token(engine: Headrace, tenant: str, own: int) -> float:
    """Seconds to the first token behind the system prompt and tokens of its own."""
    system = np.random.default_rng(2).integers(3, 30000, SYSTEM)
    ids = np.concatenate([system, np.random.default_rng(100 + own).integers(3, 30000, OWN)]).astype(np.int32)
    begin = time.perf_counter()
    stream = engine.generator.submit(ids, temperature=0.0, max_tokens=1, ignore_eos=True, tenant=tenant)
    while not stream.ended or stream.done:
        if engine.generator.wait(stream, 100_000) and (error := stream.take()[3]) is not None:
            raise error
    return time.perf_counter() - begin


def _random_qwen() -> Path:
    """The checkpoint, made once: bf16, 1 GB."""
    path = harness.CACHE / "qwen2.5-0.5b-random"
    if (path / "tokenizer.json").exists():
        return path
    import torch
    import transformers

    torch.manual_seed(1)
    torch.set_default_dtype(torch.bfloat16)
    model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**QWEN))
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(path)
    tokenizer = {
        "model": {
            "type": "WordLevel",
            "vocab": {f"t{i}": i for i in range(QWEN["vocab_size"])},
            "unk_token": "t0",
        },
        "pre_tokenizer": {"type": "Whitespace"},
    }
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    return path


if __name__ == "__main__":
    main()
