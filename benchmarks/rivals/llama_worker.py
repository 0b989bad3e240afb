"""llama.cpp for bench_generate.py: reads questions as JSON lines, writes answers; needs llama-cpp-python alone.

The C interface, called as its own llama-batched-bench does: all sequences in one batch of up to 512 tokens, a cache
for each, flash attention and the rest as they are by default.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import llama_cpp as ll
import numpy as np

STEP, CONTEXT, MOST = 512, 2048, 32
_SILENT = ll.llama_log_callback(lambda *_: None)  # kept: C calls it


class Engine:
    def __init__(self, path: str, threads: int) -> None:
        ll.llama_backend_init()
        ll.llama_log_set(_SILENT, None)
        self.model = ll.llama_model_load_from_file(path.encode(), ll.llama_model_default_params())
        self.threads = threads
        self.vocabulary = ll.llama_vocab_n_tokens(ll.llama_model_get_vocab(self.model))
        self.batch = ll.llama_batch_init(STEP, 0, 1)
        self.contexts: dict[int, Any] = {}
        self.ids: list[int] = []

    def context(self, sequences: int) -> Any:
        """One for a single text and one for many, each with room for 256 tokens a text or more."""
        most = 1 if sequences == 1 else MOST
        if most not in self.contexts:
            params = ll.llama_context_default_params()
            params.n_ctx = max(CONTEXT, most * 256)
            params.n_batch = params.n_ubatch = STEP
            params.n_seq_max = most
            params.n_threads = params.n_threads_batch = self.threads
            self.contexts[most] = ll.llama_init_from_model(self.model, params)
        context = self.contexts[most]
        ll.llama_memory_clear(ll.llama_get_memory(context), False)
        return context

    def decode(self, context: Any, rows: list[tuple[int, int, int, bool]]) -> list[int]:
        """Rows of (token, position, sequence, whether its logits are wanted), 512 at most; places of those."""
        batch, wanted = self.batch, []
        batch.n_tokens = len(rows)
        for i, (token, position, sequence, is_wanted) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, position, 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = is_wanted
            if is_wanted:
                wanted.append(i)
        if ll.llama_decode(context, batch) != 0:
            raise SystemExit("llama_decode failed")
        return wanted

    def logits(self, context: Any, row: int) -> Any:
        return np.ctypeslib.as_array(ll.llama_get_logits_ith(context, row), (self.vocabulary,))

    def run(self, prompt: int, count: int, sequences: int) -> tuple[float, list[list[int]]]:
        context = self.context(sequences)
        begin = time.perf_counter()
        texts: list[list[int]] = [[] for _ in range(sequences)]
        rows = [
            (token, place, i, place == prompt - 1)
            for i in range(sequences)
            for place, token in enumerate(self.ids[i : i + prompt])
        ]
        for at in range(0, len(rows), STEP):
            part = rows[at : at + STEP]
            for row in self.decode(context, part):
                texts[part[row][2]].append(int(self.logits(context, row).argmax()))
        for step in range(count - 1):
            wanted = self.decode(
                context, [(text[-1], prompt + step, i, True) for i, text in enumerate(texts)]
            )
            for text, row in zip(texts, wanted, strict=True):
                text.append(int(self.logits(context, row).argmax()))
        return time.perf_counter() - begin, texts

    def loss(self, ids: list[int]) -> float:
        """Minus the log probability of all tokens but the first, in nats."""
        context = self.context(1)
        total = 0.0
        for at in range(0, len(ids), STEP):
            part = ids[at : at + STEP]
            rows = self.decode(context, [(token, at + i, 0, True) for i, token in enumerate(part)])
            for row, told in zip(rows, ids[at + 1 : at + STEP + 1], strict=False):
                logits = self.logits(context, row).astype(np.float64)
                top = logits.max()
                total += float(top + np.log(np.exp(logits - top).sum()) - logits[told])
        return total


def main() -> None:
    engine = Engine(sys.argv[1], int(sys.argv[2]))
    print(json.dumps({"versions": {"llama-cpp-python": ll.__version__}}), flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        answer: dict[str, Any] = {}
        if "ids" in question:
            engine.ids = question["ids"]
        elif "score" in question:
            answer = {"loss": engine.loss(question["score"])}
        else:
            seconds, texts = engine.run(question["prompt"], question["count"], question["sequences"])
            answer = {"seconds": seconds, "texts": texts}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
