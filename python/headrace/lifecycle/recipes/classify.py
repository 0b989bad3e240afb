"""Labels for texts: an encoder with a head of one number a class, trained by cross-entropy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..batches import Sequences
from ..cells import as_text
from ..inspection import Inspected
from ..metrics import classification
from ..settings import TrainSettings
from ..splits import class_weights
from .encoder import EncoderRecipe, in_portions

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

Part = tuple[Sequences, "NDArray[Any]", "NDArray[np.int64]"]


class ClassifyRecipe(EncoderRecipe):
    """Single-label classification."""

    task = "classify"
    kind = "AutoModelForSequenceClassification"
    metric = "recall_macro"

    problem_type = "single_label_classification"

    def __init__(self, base: str | Path, names: list[str], settings: TrainSettings) -> None:
        super().__init__(
            base,
            names,
            settings,
            num_labels=len(names),
            id2label=dict(enumerate(names)),
            label2id={name: i for i, name in enumerate(names)},
            problem_type=self.problem_type,
            ignore_mismatched_sizes=True,
        )

    def encode(self, data: Inspected) -> Sequences:
        """Token ids of each row, special tokens among them."""

        def ids() -> Iterator[list[int]]:
            for _, cells in data.texts():
                texts = [as_text(text) for text in cells["text"]]
                yield from self.tokenizer(texts, truncation=True, max_length=self.limit)["input_ids"]

        return Sequences(ids())

    def use(self, train: Part, validation: Part | None) -> None:
        """Takes (tokens, labels, places) of the rows that train and of those that choose."""
        import torch

        self._tokens, labels, self._places = train
        self._labels = labels.astype(np.int64)
        self._validation = validation
        self.lengths = self._tokens.lengths[self._places]
        self._weights: torch.Tensor | None = None
        if self.settings.class_weights == "balanced":
            self._weights = torch.from_numpy(class_weights(self._labels[self._places], len(self.names)))

    def loss(self, places: NDArray[np.int64]) -> torch.Tensor:
        import torch

        rows = self._places[places]
        logits = self.model(**self.inputs(self._tokens, rows)).logits
        labels = torch.from_numpy(self._labels[rows])
        return torch.nn.functional.cross_entropy(logits.float(), labels, self._weights)

    def validate(self) -> dict[str, float]:
        if self._validation is None or not len(self._validation[2]):
            return {}
        tokens, labels, places = self._validation
        truth = labels[places].astype(np.int64)
        scores = np.empty((len(places), len(self.names)), np.float32)
        for part in in_portions(tokens.lengths[places]):
            logits = self.model(**self.inputs(tokens, places[part])).logits
            scores[part] = logits.float().softmax(dim=1).numpy()
        found = classification.summary(truth, scores.argmax(axis=1), len(self.names))
        right = np.maximum(scores[np.arange(len(truth)), truth], 1e-12)
        return {name: found[name] for name in ("accuracy", "recall_macro", "f1_macro")} | {
            "loss": float(-np.log(right).mean())
        }
