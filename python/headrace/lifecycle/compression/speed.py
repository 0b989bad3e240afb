"""Two models' speed in our engine, in turns on the same inputs: the ratio of each turn, and how sure its median is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import UnsupportedError

if TYPE_CHECKING:
    from ...loaded_model import Model

_TURN_SECONDS = 0.25  # of the slower model, about
_NEW_TOKENS = 32
_AT_ONCE = 8  # texts that are generated at a time
_FEWEST_TURNS = 6  # of which the least and the largest hold the median with 95 %
_FEWEST = 8  # inputs of a turn


@dataclass(frozen=True)
class Gain:
    """How much faster the second model is: the median of the turns' ratios, and its 95 % interval between two of them
    (of order statistics, no distribution is supposed). `is_real`: the interval leaves out 1; fewer than 6 turns have no
    such interval, and show nothing."""

    unit: str
    before: float
    after: float
    ratio: float
    low: float
    high: float
    turns: int

    @property
    def is_real(self) -> bool:
        return self.turns >= _FEWEST_TURNS and (self.low > 1 or self.high < 1)

    def __str__(self) -> str:
        if not self.is_real:
            told = "no difference that this measurement can show"
        else:
            told = "a real gain" if self.ratio > 1 else "a real loss"
        return (
            f"{self.before:.0f} and {self.after:.0f} {self.unit}, {self.ratio:.2f} times "
            f"[{self.low:.2f}, {self.high:.2f}] in {self.turns} turns: {told}"
        )


def compare(
    before: Model,
    after: Model,
    inputs: Sequence[Any],
    *,
    turns: int = 9,
    watch: Callable[[], None] | None = None,
) -> Gain:
    """Times both on the same inputs in turns, each turn the other one first. Batches, as a server under load has them.

    Args:
        before, after: loaded with the same number of threads.
        inputs: texts; of rerank (query, document).
        turns: 1 or more; 6 make an interval.
        watch: called after each turn.
    """
    run, unit = _runner(before.info.task)
    inputs = _fitting(lambda some: run(before, some), list(inputs))
    run(after, inputs)  # its first run has pages to touch
    speeds = np.empty((turns, 2))
    amount = 0.0
    for turn in range(turns):
        for which in (0, 1) if turn % 2 == 0 else (1, 0):
            begin = time.perf_counter()
            amount = run((before, after)[which], inputs)
            speeds[turn, which] = amount / (time.perf_counter() - begin)
        if watch is not None:
            watch()
    ratios = np.sort(speeds[:, 1] / speeds[:, 0])
    one, other = np.median(speeds, axis=0)
    out = left_out(turns)
    low, high = float(ratios[out]), float(ratios[-1 - out])
    return Gain(unit, float(one), float(other), float(np.median(ratios)), low, high, turns)


def left_out(n: int) -> int:
    """How many of n sorted values to leave out on either side so that the rest holds the true median with 95 %.

    >>> [left_out(n) for n in (5, 6, 9, 12)]
    [0, 0, 1, 2]
    """
    tail, k = 0.5**n, 0
    while tail + math.comb(n, k + 1) * 0.5**n <= 0.025:
        k += 1
        tail += math.comb(n, k) * 0.5**n
    return k


def _runner(task: str) -> tuple[Callable[[Model, Sequence[Any]], float], str]:
    """What a turn does, and gives: the amount of work; and its unit."""

    def texts(name: str, **options: Any) -> Callable[[Model, Sequence[Any]], float]:
        def run(model: Model, some: Sequence[Any]) -> float:
            getattr(model, name)(some, show_progress=False, **options)
            return len(some)

        return run

    def rerank(model: Model, pairs: Sequence[Any]) -> float:
        query = pairs[0][0]
        model.rerank(query, [document for _, document in pairs], truncate=True)
        return len(pairs)

    def generate(model: Model, prompts: Sequence[Any]) -> float:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = pool.map(
                lambda prompt: (
                    model.generate(
                        prompt, max_tokens=_NEW_TOKENS, temperature=0, ignore_eos=True
                    ).generated_tokens
                ),
                prompts,
            )
            return sum(found)

    runners = {
        "embed": (texts("embed", truncate=True), "texts/s"),
        "classify": (texts("classify", top_k=1, truncate=True), "texts/s"),
        "tag": (texts("tag"), "texts/s"),
        "rerank": (rerank, "pairs/s"),
        "generate": (generate, "new tokens/s"),
    }
    if task not in runners:
        raise UnsupportedError(f"speed of {task}: it is measured of {', '.join(runners)}")
    return runners[task]


def _fitting(run: Callable[[Sequence[Any]], float], inputs: list[Any]) -> list[Any]:
    """As many of the inputs, from the first on and over again, as take a turn's time."""
    some = inputs[:_FEWEST]
    run(some)
    begin = time.perf_counter()
    run(some)
    each = (time.perf_counter() - begin) / len(some)
    wanted = int(np.clip(_TURN_SECONDS / each, len(some), 2048))
    return [inputs[i % len(inputs)] for i in range(wanted)]
