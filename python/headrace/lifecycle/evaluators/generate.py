"""generate: how surely the model foretells texts, token by token: perplexity, and bits a byte, which do not depend on
how a tokenizer cuts.

The engine's own decoder gives the logits of every token of a text. Of a row with a prompt the answer's tokens count.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import _core
from ...errors import InvalidArgumentError, ModelNotFoundError
from ..cells import as_text
from ..evaluation import Evaluation, cells_of, read_rows, timed
from ..inspection import Inspected
from ..metrics import resampling
from ..scan import DataSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...loaded_model import Model

_MOST_TOKENS = 1024
_STEP = 256


def read(model: Model, data: str | Path, settings: DataSettings) -> Inspected:
    """The file's rows: text, perhaps prompt."""
    return read_rows(data, "generate", settings, None)


class _Scorer:
    """Sums of the log probabilities of texts by one model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._decoder = _core.LanguageModel(
            model.info.path, precision=model._asked_precision, threads=model._language().threads
        )
        self.most = min(_MOST_TOKENS, model.info.max_tokens)
        self.cut = 0

    def __call__(self, rows: list[tuple[str | None, str]]) -> NDArray[np.float64]:
        """float64 [rows, 3]: minus the log probability in nats, how many tokens, how many bytes."""
        return np.array([self._row(prompt, text) for prompt, text in rows])

    def _row(self, prompt: str | None, text: str) -> tuple[float, float, float]:
        tokenizer = self._model.tokenizer
        if prompt is None:
            ids, before = list(tokenizer.encode(text).ids), 1
        else:
            first = [int(i) for i in self._model.prompt_ids(self._asked(prompt))]
            ids, before = first + list(tokenizer.encode(text, add_special_tokens=False).ids), len(first)
        self.cut += len(ids) > self.most
        kept = ids[: self.most]
        counted = len(kept) - before
        if counted < 1:
            return 0.0, 0.0, 0.0
        logits = self._decoder.logits(np.asarray(kept, np.int32), step=_STEP)[before - 1 : -1].astype(
            np.float64
        )
        largest = logits.max(axis=1)
        logs = largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1))
        told = logits[np.arange(counted), kept[before:]]
        # Of a text that was cut, as many of its bytes as of its tokens.
        size = len(text.encode()) * counted / (len(ids) - before)
        return float((logs - told).sum()), float(counted), size

    def _asked(self, prompt: str) -> Any:
        try:
            self._model.chat_template  # noqa: B018
        except (InvalidArgumentError, ModelNotFoundError):
            return prompt
        return [{"role": "user", "content": prompt}]


def _rows(data: Inspected, places: NDArray[Any]) -> list[tuple[str | None, str]]:
    cells = cells_of(data, places)
    prompts = cells.get("prompt", [None] * len(cells["text"]))
    return [
        (None if prompt is None else as_text(prompt), as_text(text))
        for prompt, text in zip(prompts, cells["text"], strict=True)
    ]


def _perplexity(sums: NDArray[Any]) -> float:
    return math.exp(min(700.0, float(sums[:, 0].sum() / sums[:, 1].sum())))


def _bits(sums: NDArray[Any]) -> float:
    return float(sums[:, 0].sum() / sums[:, 2].sum() / math.log(2))


def _of_rows(figure: Callable[[NDArray[Any]], float], sums: NDArray[Any], rows: NDArray[Any]) -> float:
    return figure(sums[rows])


_FIGURES = {"perplexity": _perplexity, "bits_per_byte": _bits}


def measure(
    result: Evaluation, model: Model, data: Inspected, places: NDArray[Any], *, bootstrap: int, seed: int
) -> list[dict[str, Any]]:
    """Fills the result; the loss of each row in nats a token."""
    rows = _rows(data, places)
    scorer = _Scorer(model)
    sums, result.speed = timed(scorer, rows, lambda row: scorer([row]))
    if not sums[:, 1].any():
        raise InvalidArgumentError(f"{data.path.name}: no row has two tokens: there is nothing to foretell")
    if scorer.cut:
        result.notes.append(f"texts of more than {scorer.most} tokens were cut")
    result.metrics = {name: figure(sums) for name, figure in _FIGURES.items()}
    result.metrics["loss"] = float(sums[:, 0].sum() / sums[:, 1].sum())
    result.metrics["tokens"] = float(sums[:, 1].sum())
    if bootstrap:
        for name, figure in _FIGURES.items():
            result.intervals[name] = resampling.statistic_interval(
                partial(_of_rows, figure, sums), len(sums), draws=bootstrap, seed=seed
            )
    return [
        {
            "row": int(row),
            "loss": float(loss / max(1.0, tokens)),
            "tokens": int(tokens),
            "sum": loss,
            "bytes": size,
        }
        for row, (loss, tokens, size) in zip(data.rows[places], sums, strict=True)
    ]


def compare(result: Evaluation, other: Model, data: Inspected, places: NDArray[Any], seed: int) -> None:
    """Adds how the other model does on the same rows."""
    first = np.array([[row["sum"], row["tokens"], row["bytes"]] for row in result.predictions])
    second = _Scorer(other)(_rows(data, places))
    result.comparison["differences"] = [
        resampling.compare_statistic(name, figure, first, second, seed=seed)
        for name, figure in _FIGURES.items()
    ]
