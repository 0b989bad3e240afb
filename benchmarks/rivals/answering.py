"""What the workers of bench_generate.py answer over standard input and output, a JSON line each."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

Texts = Sequence[Sequence[int]]


def answer(about: dict[str, Any], prepare: Callable[[list[list[int]], int], Callable[[], Texts]]) -> None:
    """Says what it is, and then for each question the seconds that its texts took, and their new tokens.

    prepare(prompts, count): what writes `count` tokens behind each prompt; making it is not timed.
    """
    print(json.dumps(about), flush=True)
    ids: list[int] = []
    for line in sys.stdin:
        question = json.loads(line)
        if "ids" in question:
            ids = question["ids"]
            print("{}", flush=True)
            continue
        prompts = [ids[at : at + question["prompt"]] for at in range(question["sequences"])]
        write = prepare(prompts, question["count"])
        begin = time.perf_counter()
        texts = write()
        seconds = time.perf_counter() - begin
        print(json.dumps({"seconds": seconds, "texts": [list(map(int, text)) for text in texts]}), flush=True)
