"""Several labels a text, or none: an encoder with a number for each label, each trained for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..inspection import Inspected
from ..metrics import multilabel
from ..scan import labels_of
from .classify import ClassifyRecipe
from .encoder import in_portions

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


class MultilabelRecipe(ClassifyRecipe):
    """Binary cross-entropy of each label; the head is served with sigmoid."""

    metric = "f1_micro"
    problem_type = "multi_label_classification"

    def encode(self, data: Inspected) -> Any:
        """Token ids of each row, and which labels it has."""
        return super().encode(data), truth_of(data, self.names)

    def use(self, train: Any, validation: Any) -> None:
        """As ClassifyRecipe."""
        import torch

        (self._tokens, self._truth), _, self._places = train
        self._held: Any = validation
        self.lengths = self._tokens.lengths[self._places]
        self._weights: torch.Tensor | None = None
        if self.settings.class_weights == "balanced":
            shares = self._truth[self._places].mean(axis=0).clip(1e-3, 1)
            self._weights = torch.from_numpy(((1 - shares) / shares).astype(np.float32))

    def loss(self, places: NDArray[np.int64]) -> torch.Tensor:
        import torch

        rows = self._places[places]
        logits = self.model(**self.inputs(self._tokens, rows)).logits.float()
        truth = torch.from_numpy(self._truth[rows].astype(np.float32))
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, truth, pos_weight=self._weights)

    def validate(self) -> dict[str, float]:
        if self._held is None or not len(self._held[2]):
            return {}
        (tokens, every), _, places = self._held
        truth, scores = every[places], np.empty((len(places), len(self.names)), np.float32)
        for part in in_portions(tokens.lengths[places]):
            scores[part] = self.model(**self.inputs(tokens, places[part])).logits.float().sigmoid().numpy()
        found = multilabel.summary(truth, scores)
        right = np.where(truth, scores, 1 - scores).clip(1e-7)
        return {name: found[name] for name in ("f1_micro", "f1_macro", "accuracy")} | {
            "loss": float(-np.log(right).mean())
        }


def truth_of(data: Inspected, names: list[str]) -> NDArray[np.bool_]:
    """Which of the labels each row has: bool [rows, labels]."""
    numbers = {name: i for i, name in enumerate(names)}
    found = np.zeros((len(data.rows), len(names)), bool)
    for places, cells in data.texts():
        for place, cell in zip(places, cells["label"], strict=True):
            found[place, [numbers[name] for name in labels_of(cell, data.settings.label_separator)]] = True
    return found
