"""Tokens a second of a language model: reading a prompt of 512, writing one text, and 8 and 32 at a time.

python benchmarks/bench_generate.py                                   # the demo model, q4, q8, int8 and bf16
python benchmarks/bench_generate.py --llama path/to/python            # beside llama.cpp: it has llama-cpp-python
python benchmarks/bench_generate.py --speculation                     # with speculation and without, by kinds of text
Greedy, ends of text ignored, prompts of 128 tokens each their own; every measurement in turn with the others, best and
median of the rounds. llama.cpp runs the very same file, in a process of its own that waits while headrace runs.
Without --speculation nothing is proposed: the prompt is one sentence again and again, as no user's is.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import harness

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


class Headrace:
    """The model in this process, as `headrace.load` runs it."""

    def __init__(self, path: str, threads: int, precision: str) -> None:
        from headrace import _core

        self.generator = _core.Generator(
            path,
            threads=threads,
            precision=precision,
            context=2048,
            step_tokens=READ,
            max_sequences=32,
            speculation=0,
        )
        self.ids = np.asarray(self.generator.tokenizer.encode(TEXT).ids, np.int32)
        self.weight_bytes = self.generator.info()["weight_bytes"]
        self._tenants = 0

    def run(self, prompt: int, count: int, sequences: int = 1) -> tuple[float, list[int]]:
        """Seconds and the first text's tokens. Each sequence is of a tenant of its own: nothing is shared."""
        begin = time.perf_counter()
        streams = []
        for _ in range(sequences):
            self._tenants += 1
            streams.append(
                self.generator.submit(
                    self.ids[:prompt],
                    temperature=0.0,
                    max_tokens=count,
                    ignore_eos=True,
                    tenant=str(self._tenants),
                )
            )
        tokens: list[int] = []
        for stream in streams:
            while not stream.ended or stream.done:
                if self.generator.wait(stream, 100_000):
                    news = stream.take()
                    if news[3] is not None:
                        raise news[3]
                    if stream is streams[0]:
                        tokens += [token[0] for token in news[1]]
        return time.perf_counter() - begin, tokens

    def close(self) -> None:
        self.generator.close()


class Llama:
    """llama.cpp in another interpreter; answers JSON lines on its standard output."""

    def __init__(self, python: str, path: str, threads: int) -> None:
        command = [python, str(Path(__file__).with_name("rivals") / "llama_worker.py"), path, str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.version = self._ask({"text": TEXT})["version"]

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"llama.cpp ended with code {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(self, prompt: int, count: int, sequences: int = 1) -> tuple[float, list[int]]:
        """As Headrace.run, of one sequence."""
        answer = self._ask({"prompt": prompt, "count": count})
        return answer["seconds"], answer["tokens"]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


def main() -> None:
    parser = harness.parser("generate", __doc__)
    parser.add_argument("--precisions", nargs="+", default=["auto", "q8", "int8", "bf16"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--llama", metavar="PYTHON", help="an interpreter that has llama-cpp-python")
    parser.add_argument("--speculation", action="store_true", help="with and without, by kinds of text")
    arguments = parser.parse_args()
    from headrace.repository import resolve

    path = str(Path(arguments.model).resolve() if arguments.model else resolve("demo:smollm2"))
    lines: list[dict[str, Any]] = []
    if arguments.speculation:
        for threads in arguments.threads:
            for precision in arguments.precisions:
                lines += _speculation(path, threads, precision, arguments.rounds)
        harness.write("speculation", lines, arguments.out)
        return
    for threads in arguments.threads:
        engines: dict[str, Headrace | Llama] = {
            f"headrace-{precision}": Headrace(path, threads, precision) for precision in arguments.precisions
        }
        if arguments.llama:
            engines["llama.cpp"] = Llama(arguments.llama, path, threads)
        found: dict[str, dict[str, list[float]]] = {name: {} for name in engines}
        for _ in range(arguments.rounds):
            for name, engine in engines.items():
                _measure(engine, found[name])
        for name, engine in engines.items():
            figures = {
                measure: {"best": round(max(values), 1), **harness.spread(values, 1)}
                for measure, values in found[name].items()
            }
            line = {
                "engine": name,
                "model": Path(path).stem,
                "threads": threads,
                "unit": "tokens/s",
                **figures,
            }
            if isinstance(engine, Headrace):
                info = engine.generator.info()
                line |= {
                    "precision": info["precision"],
                    "isa": info["isa"],
                    "weight_bytes": engine.weight_bytes,
                }
                line["write_gb_s"] = round(figures["write_1"]["best"] * engine.weight_bytes / 1e9, 1)
            else:
                line["versions"] = {"llama-cpp-python": engine.version}
            lines.append(line)
            print(json.dumps(line), file=sys.stderr)
            engine.close()
    harness.write("generate", lines, arguments.out)


def _measure(engine: Headrace | Llama, found: dict[str, list[float]]) -> None:
    seconds, first = engine.run(READ, 1)
    found.setdefault("read_512", []).append(READ / seconds)
    # What writing takes is the difference to a text of one token: both read the same prompt.
    alone = engine.run(PROMPT, 1)[0]
    seconds, tokens = engine.run(PROMPT, WRITE + 1)
    if len(tokens) != WRITE + 1 or len(first) != 1:
        raise SystemExit("a text is not as long as it was to be")
    found.setdefault("write_1", []).append(WRITE / (seconds - alone))
    if isinstance(engine, Headrace):
        for sequences in (8, 32):
            seconds, _ = engine.run(PROMPT, WRITE, sequences)
            found.setdefault(f"read_and_write_{sequences}", []).append(sequences * WRITE / seconds)


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
