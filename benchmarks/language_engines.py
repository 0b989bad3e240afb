"""The engines that bench_generate.py compares: ours in this process, rivals in processes of their own.

Each has run(prompt, count, sequences) -> seconds and the tokens of every text: greedy, ends of text ignored, sequence
i reads `prompt` tokens from place i of the ids on, and nothing of one is kept for another. A rival is a script of
rivals/ which answers JSON lines, run by an interpreter that has its package, and waits while others have their turn.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from turns import Child


class Headrace:
    """The model in this process, as `headrace.load` runs it."""

    def __init__(self, path: str, threads: int, precision: str, kv: str = "auto") -> None:
        from headrace import _core

        self.generator = _core.Generator(
            path,
            threads=threads,
            precision=precision,
            context=2048,
            step_tokens=512,
            max_sequences=32,
            speculation=0,
            kv=kv,
        )
        info = self.generator.info()
        self.weight_bytes = info["weight_bytes"]
        self.about = {
            "precision": info["precision"],
            "kv": self.generator.kv,
            "isa": info["isa"],
            "weight_bytes": self.weight_bytes,
        }
        self.ids = np.zeros(0, np.int32)
        self._tenants = 0

    def run(self, prompt: int, count: int, sequences: int = 1) -> tuple[float, list[list[int]]]:
        """Each sequence is of a tenant of its own: nothing is shared."""
        begin = time.perf_counter()
        streams = []
        for i in range(sequences):
            self._tenants += 1
            streams.append(
                self.generator.submit(
                    self.ids[i : i + prompt],
                    temperature=0.0,
                    max_tokens=count,
                    ignore_eos=True,
                    tenant=str(self._tenants),
                )
            )
        texts: list[list[int]] = [[] for _ in streams]
        for stream, tokens in zip(streams, texts, strict=True):
            while not stream.ended or stream.done:
                if self.generator.wait(stream, 100_000):
                    news = stream.take()
                    if news[3] is not None:
                        raise news[3]
                    tokens += [token[0] for token in news[1]]
        return time.perf_counter() - begin, texts

    def close(self) -> None:
        self.generator.close()


class Rival(Child):
    """An engine of rivals/NAME_worker.py."""

    def __init__(self, name: str, python: str, path: str, threads: int) -> None:
        script = Path(__file__).with_name("rivals") / f"{name}_worker.py"
        super().__init__(name, [python, str(script), path, str(threads)])

    @property
    def ids(self) -> Any:
        return self._ids

    @ids.setter
    def ids(self, ids: Any) -> None:
        self._ids = ids
        self.turn(ids=[int(i) for i in ids])

    def run(self, prompt: int, count: int, sequences: int = 1) -> tuple[float, list[list[int]]]:
        """As Headrace.run."""
        answer = self.turn(prompt=prompt, count=count, sequences=sequences)
        return answer["seconds"], answer["texts"]
