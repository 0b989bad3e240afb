"""Classifiers of pictures: the network that `train image` packages, or a model that sees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InvalidArgumentError
from ..evaluation import Evaluation, timed
from ..metrics import resampling
from ..picture_data import Pictures, read_pictures
from ..scan import DataSettings
from . import classify

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...loaded_model import Model


def read(model: Model, data: str | Path, settings: DataSettings) -> Pictures:
    """The pictures; their classes must be the model's."""
    found = read_pictures(data, settings, names=model.info.labels, is_evaluation=True)
    found.report.check()
    return found


def answers(model: Model, data: Pictures, places: NDArray[Any]) -> NDArray[np.float64]:
    """Probabilities [pictures, labels]."""
    if model.info.task == "predict":
        size = model.info.inputs[0].shape[0]
        assert size is not None
        items = [{"image": pixels} for pixels in data.pixels(places, size)]
        return np.stack([row["probabilities"] for row in model.predict_many(items)]).astype(np.float64)
    place = {label: i for i, label in enumerate(model.info.labels)}
    found = np.empty((len(places), len(place)))
    rows = model.classify(images=[data.paths[i] for i in places], show_progress=False)
    for row, labels in zip(found, rows, strict=True):
        for label in labels:
            row[place[label.label]] = label.score
    return found


def measure(
    result: Evaluation, model: Model, data: Pictures, places: NDArray[Any], *, bootstrap: int, seed: int
) -> list[dict[str, Any]]:
    """Fills the result; each picture's answer."""

    def run(chosen: Sequence[int]) -> NDArray[np.float64]:
        return answers(model, data, np.asarray(chosen))

    found, result.speed = timed(run, places.tolist(), lambda place: run([place]))
    told = [str(data.paths[i].name) for i in places]
    return classify.fill(
        result, data.labels[places], found, list(model.info.labels), told, data.rows[places],
        bootstrap=bootstrap, seed=seed, slice_of=None,
    )  # fmt: skip


def compare(result: Evaluation, other: Model, data: Pictures, places: NDArray[Any], seed: int) -> None:
    """Adds how the other model, of the same labels, does on the same pictures."""
    if list(other.info.labels) != result.labels:
        raise InvalidArgumentError("compare: both models must tell the same labels")
    second = answers(other, data, places).argmax(axis=1)
    truth = data.labels[places]
    first = np.asarray([result.labels.index(row["found"]) for row in result.predictions])
    found = resampling.compare_classes(truth, first, second, len(result.labels), seed=seed)
    result.comparison["differences"] = list(found.values())
    result.comparison["mcnemar_p"] = resampling.mcnemar(first == truth, second == truth)
