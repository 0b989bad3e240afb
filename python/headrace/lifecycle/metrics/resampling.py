"""How sure a figure is: bootstrap intervals, and whether two models differ, by the same rows (paired).

Figures of a confusion matrix need no resampled rows: counts of its cells, drawn from a multinomial, have the very same
distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import classification

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CELLS = 4_000_000  # of matrices that are held at a time


def _draws(counts: NDArray[Any], draws: int, cells: int, seed: int) -> Any:
    """Counts int64 [n, len(counts)] as resampling would give them, portion by portion."""
    chance = np.random.default_rng(seed)
    total = int(counts.sum())
    portion = max(1, _CELLS // cells)
    for begin in range(0, draws, portion):
        yield chance.multinomial(total, counts / total, size=min(portion, draws - begin))


def confusion_intervals(
    matrix: NDArray[Any], *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """The bootstrap interval of each of `classification.averages`, by percentiles.

    >>> low, high = confusion_intervals(np.array([[40, 10], [10, 40]]))["accuracy"]
    >>> 0.70 < low < 0.75 and 0.85 < high < 0.90
    True
    """
    classes = len(matrix)
    filled = np.flatnonzero(matrix)
    found: dict[str, list[NDArray[np.float64]]] = {}
    for drawn in _draws(matrix.flat[filled], draws, matrix.size, seed):
        matrices = np.zeros((len(drawn), matrix.size), np.int64)
        matrices[:, filled] = drawn
        for name, values in classification.averages(matrices.reshape(-1, classes, classes)).items():
            found.setdefault(name, []).append(values)
    return {name: _interval(np.concatenate(values), level) for name, values in found.items()}


def mean_interval(
    values: NDArray[Any], *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """The bootstrap interval of the mean of one figure a row."""
    chance = np.random.default_rng(seed)
    means = [values[chance.integers(0, len(values), len(values))].mean() for _ in range(draws)]
    return _interval(np.asarray(means), level)


def statistic_interval(
    statistic: Callable[[NDArray[np.int64]], float],
    rows: int,
    *,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """The bootstrap interval of any figure of rows, which `statistic` computes of their places."""
    chance = np.random.default_rng(seed)
    values = np.asarray([statistic(chance.integers(0, rows, rows)) for _ in range(draws)])
    return _interval(values[np.isfinite(values)], level)


def _interval(values: NDArray[Any], level: float) -> tuple[float, float]:
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class Difference:
    """One figure of two models on the same rows: `value` is the second's less the first's, with its 95 % interval.

    `p` is how likely a difference as large is where there is none (two-sided, paired bootstrap); `is_real` that the
    interval leaves out 0.
    """

    name: str
    first: float
    second: float
    value: float
    low: float
    high: float
    p: float

    @property
    def is_real(self) -> bool:
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        told = "a real difference" if self.is_real else "no difference that this data can show"
        return (
            f"{self.name}: {self.first:.4f} and {self.second:.4f}, {self.value:+.4f} "
            f"[{self.low:+.4f}, {self.high:+.4f}], p = {self.p:.3f}: {told}"
        )


def compare_classes(
    truth: NDArray[Any],
    first: NDArray[Any],
    second: NDArray[Any],
    classes: int,
    *,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, Difference]:
    """accuracy and the averages of two models' answers on the same rows, by paired bootstrap."""
    triples, counts = np.unique(np.stack([truth, first, second]), axis=1, return_counts=True)
    wanted = ("accuracy", "precision_macro", "recall_macro", "f1_macro")
    differences: dict[str, list[NDArray[np.float64]]] = {name: [] for name in wanted}

    def matrices(drawn: NDArray[Any], column: int) -> NDArray[np.int64]:
        made = np.zeros((len(drawn), classes * classes), np.int64)
        places = triples[0] * classes + triples[column]
        for place in np.unique(places):
            made[:, place] = drawn[:, places == place].sum(axis=1)
        return made.reshape(-1, classes, classes)

    for drawn in _draws(counts, draws, classes * classes, seed):
        one, other = (classification.averages(matrices(drawn, column)) for column in (1, 2))
        for name in wanted:
            differences[name].append(other[name] - one[name])
    whole = [classification.averages(matrices(counts[None], column)) for column in (1, 2)]
    return {
        name: _difference(name, float(whole[0][name][0]), float(whole[1][name][0]), np.concatenate(values))
        for name, values in differences.items()
    }


def compare_means(
    name: str, first: NDArray[Any], second: NDArray[Any], *, draws: int = 2000, seed: int = 0
) -> Difference:
    """The means of one figure a row of two models, by paired bootstrap."""
    chance = np.random.default_rng(seed)
    gaps = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    means = np.asarray([gaps[chance.integers(0, len(gaps), len(gaps))].mean() for _ in range(draws)])
    return _difference(name, float(np.mean(first)), float(np.mean(second)), means)


def compare_statistic(
    name: str,
    statistic: Callable[[NDArray[Any]], float],
    first: NDArray[Any],
    second: NDArray[Any],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> Difference:
    """Any figure of rows of two models, which `statistic` computes of [rows, ...], by paired bootstrap."""
    chance = np.random.default_rng(seed)
    drawn = []
    for _ in range(draws):
        places = chance.integers(0, len(first), len(first))
        drawn.append(statistic(second[places]) - statistic(first[places]))
    return _difference(name, statistic(first), statistic(second), np.asarray(drawn))


def _difference(name: str, first: float, second: float, drawn: NDArray[np.float64]) -> Difference:
    low, high = _interval(drawn, 0.95)
    side = min((drawn <= 0).mean(), (drawn >= 0).mean())
    p = min(1.0, 2 * max(float(side), 1 / (len(drawn) + 1)))
    return Difference(name, first, second, second - first, low, high, p)


def mcnemar(first_right: NDArray[Any], second_right: NDArray[Any]) -> float:
    """The exact two-sided p of McNemar's test: whether two models are right equally often on the same rows.

    >>> round(mcnemar(np.array([1, 1, 1, 1, 1, 1, 0]), np.array([0, 0, 0, 0, 0, 0, 0])), 6)
    0.03125
    """
    only_first = int((first_right.astype(bool) & ~second_right.astype(bool)).sum())
    only_second = int((second_right.astype(bool) & ~first_right.astype(bool)).sum())
    n, least = only_first + only_second, min(only_first, only_second)
    if n == 0:
        return 1.0
    logs = [
        math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2)
        for i in range(least + 1)
    ]
    return min(1.0, 2 * math.fsum(map(math.exp, logs)))
