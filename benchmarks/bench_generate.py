"""Tokens a second of a language model: reading a prompt of 512, writing one text, and 8 and 32 at a time.

python benchmarks/bench_generate.py                                   # the demo model, q4, q8, int8 and bf16
python benchmarks/bench_generate.py --llama path/to/python            # beside llama.cpp: it has llama-cpp-python
Greedy, ends of text ignored, prompts of 128 tokens each their own; every measurement in turn with the others, best and
median of the rounds. llama.cpp runs the very same file, in a process of its own that waits while headrace runs.
"""

from __future__ import annotations

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


class Headrace:
    """The model in this process, as `headrace.load` runs it."""

    def __init__(self, path: str, threads: int, precision: str) -> None:
        from headrace import _core

        self.generator = _core.Generator(
            path, threads=threads, precision=precision, context=2048, step_tokens=READ, max_sequences=32
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
    arguments = parser.parse_args()
    from headrace.repository import resolve

    path = str(Path(arguments.model).resolve() if arguments.model else resolve("demo:smollm2"))
    lines = []
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


if __name__ == "__main__":
    main()
