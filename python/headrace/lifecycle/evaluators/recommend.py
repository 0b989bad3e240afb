"""Recommenders: is a user's last item among the ten that are said, given those before it; beside what most took."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InvalidArgumentError, UnsupportedError
from ..evaluation import Evaluation, timed
from ..histories import Histories, read_histories
from ..lineage import read as read_record
from ..metrics import resampling
from ..metrics.ranking import of_lists
from ..scan import DataSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...loaded_model import Model


def read(model: Model, data: str | Path, settings: DataSettings) -> Histories:
    """The file's users with two items or more that the model knows."""
    record = read_record(Path(model.info.path)) or {}
    found = read_histories(data, settings, names=model.info.labels, min_rating=record.get("min_rating"))
    found.report.check()
    return found


def measure(
    result: Evaluation, model: Model, data: Histories, places: NDArray[Any], *, bootstrap: int, seed: int
) -> list[dict[str, Any]]:
    """Fills the result; for each user what was wanted and what was said."""
    if not len(places):
        raise InvalidArgumentError("evaluate: no user's last item is among these rows")
    users = [data.users[i] for i in places]
    wanted = np.array([user[-1] for user in users])
    items = [{"items": user[:-1]} for user in users]

    def answers(rows: list[dict[str, Any]]) -> NDArray[np.int64]:
        return np.stack([row["items_next"] for item in rows for row in [model.predict(item)]])

    found, result.speed = timed(answers, items, model.predict)
    figures = of_lists(found, wanted)
    popular = of_lists(most_taken(data, users), wanted)
    result.metrics = {name: float(values.mean()) for name, values in figures.items()}
    result.metrics |= {f"popular_{name}": float(values.mean()) for name, values in popular.items()}
    if bootstrap:
        result.intervals = {
            name: resampling.mean_interval(values, draws=bootstrap, seed=seed)
            for name, values in figures.items()
        }
    return [
        {"row": int(row), "label": data.names[item], "found": [data.names[i] for i in said]}
        for row, item, said in zip(data.rows[places], wanted, found.tolist(), strict=True)
    ]


def most_taken(data: Histories, users: list[list[int]], top: int = 10) -> NDArray[np.int64]:
    """For each user what most others had and they did not: the baseline int64 [users, top]."""
    order = np.argsort(-data.counts(), kind="stable")
    order = order[order > 0]
    return np.stack([order[~np.isin(order, user[:-1])][:top] for user in users])


def compare(result: Evaluation, other: Model, data: Histories, places: NDArray[Any], seed: int) -> None:
    """Not told: two models may number their items differently."""
    raise UnsupportedError("compare: of recommenders there is no comparison yet")
