"""Models of tables: classes or quantities out of a row's columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InvalidArgumentError
from ..evaluation import Evaluation, choose_rows, timed
from ..metrics import ranking, resampling
from ..scan import DataSettings
from ..tables import Table, read_table
from . import classify

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...loaded_model import Model

SLICES = True


def read(model: Model, data: str | Path, settings: DataSettings) -> Table:
    """The file's rows: the columns that the model takes, and the label."""
    specs = model.info.inputs
    if not specs or any(spec.shape for spec in specs):
        raise InvalidArgumentError(
            f"{model.name}: its inputs are no columns of a table: {', '.join(f'{s.name} ({s})' for s in specs)}"
        )
    features = {spec.name: "text" if spec.dtype == "str" else "number" for spec in specs}
    found = read_table(data, settings, features=features, names=model.info.labels, is_evaluation=True)
    found.report.check()
    return found


def answers(model: Model, items: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    """Probabilities [rows, labels] of a model with labels, or values [rows]."""
    wanted = "probabilities" if model.info.labels else "value"
    names = [spec.name for spec in model.info.outputs]
    if wanted not in names:
        raise InvalidArgumentError(f"{model.name}: it has no output {wanted!r}, but {', '.join(names)}")
    return np.asarray([row[wanted] for row in model.predict_many(items)], np.float64)


def measure(
    result: Evaluation, model: Model, data: Table, places: NDArray[Any], *, bootstrap: int, seed: int
) -> list[dict[str, Any]]:
    """Fills the result; each row's answer."""
    items = data.items(places)
    found, result.speed = timed(lambda rows: answers(model, rows), items, model.predict)
    truth = data.labels[places]
    if data.regresses:
        result.metrics = ranking.regression(truth, found)
        rows = data.rows[places].tolist()
        return [
            {"row": row, "label": float(one), "found": float(other)}
            for row, one, other in zip(rows, truth, found, strict=True)
        ]
    told = [", ".join(f"{name} {value}" for name, value in item.items()) for item in items]
    chosen = None if data.slices is None else [data.slices[i] for i in places]
    return classify.fill(
        result, truth, found, list(model.info.labels), told, data.rows[places],
        bootstrap=bootstrap, seed=seed, slice_of=chosen,
    )  # fmt: skip


def compare(result: Evaluation, other: Model, data: Table, places: NDArray[Any], seed: int) -> None:
    """Adds how the other model, of the same columns and labels, does on the same rows."""
    if list(other.info.labels) != result.labels or data.regresses:
        raise InvalidArgumentError("compare: both models must tell the same labels")
    second = answers(other, data.items(places)).argmax(axis=1)
    truth = data.labels[places]
    first = np.asarray([result.labels.index(row["found"]) for row in result.predictions])
    found = resampling.compare_classes(truth, first, second, len(result.labels), seed=seed)
    result.comparison["differences"] = list(found.values())
    result.comparison["mcnemar_p"] = resampling.mcnemar(first == truth, second == truth)


def rows_of(
    model: Model, data: str | Path, settings: DataSettings, rows: str
) -> tuple[list[dict[str, Any]], NDArray[Any]]:
    """For importance: items, and what the model should say of them."""
    table = read(model, data, settings)
    places, _ = choose_rows(Path(model.info.path), table, rows)
    return table.items(places), table.labels[places]


def score(model: Model, items: Sequence[dict[str, Any]], truth: NDArray[Any]) -> float:
    """The accuracy, or r2 of quantities."""
    found = answers(model, items)
    if not model.info.labels:
        return ranking.regression(truth, found)["r2"]
    return float((found.argmax(axis=1) == truth).mean())
