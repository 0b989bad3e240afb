"""Several labels a text: each label for itself, and whole rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import UnsupportedError
from ..cells import as_text
from ..evaluation import Evaluation, cells_of, read_rows, timed
from ..inspection import Inspected
from ..metrics import multilabel, resampling
from ..scan import SEPARATOR, DataSettings, labels_of
from .classify import scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...loaded_model import Model


def read(model: Model, data: str | Path, settings: DataSettings) -> Inspected:
    """The file's rows; their labels must be the model's."""
    settings = replace(settings, label_separator=settings.label_separator or SEPARATOR)
    return read_rows(data, "multilabel", settings, model.info.labels)


def measure(
    result: Evaluation, model: Model, data: Inspected, places: NDArray[Any], *, bootstrap: int, seed: int
) -> list[dict[str, Any]]:
    """Fills the result; each row's labels."""
    cells = cells_of(data, places)
    texts = [as_text(text) for text in cells["text"]]
    names = list(model.info.labels)
    told = [labels_of(cell, data.settings.label_separator) for cell in cells["label"]]
    truth = np.array([[name in row for name in names] for row in told], bool).reshape(-1, len(names))
    found, result.speed = timed(
        lambda every: scores(model, every), texts, lambda text: model.classify(text, truncate=True)
    )
    result.labels = names
    result.metrics = {**multilabel.summary(truth, found), **multilabel.areas(truth, found)}
    each = multilabel.per_label(truth, found)
    result.per_class = {
        name: {figure: float(values[i]) for figure, values in each.items()} for i, name in enumerate(names)
    }
    right = ((found >= multilabel.THRESHOLD) == truth).all(axis=1)
    if bootstrap:
        result.intervals["accuracy"] = resampling.mean_interval(
            right.astype(np.float64), draws=bootstrap, seed=seed
        )
    said = [[names[i] for i in np.flatnonzero(row >= multilabel.THRESHOLD)] for row in found]
    return [
        {"row": int(row), "label": wanted, "found": given}
        for row, wanted, given in zip(data.rows[places], told, said, strict=True)
    ]


def compare(result: Evaluation, other: Model, data: Inspected, places: NDArray[Any], seed: int) -> None:
    """Not told yet."""
    raise UnsupportedError("compare: of models with several labels a text there is no comparison yet")
