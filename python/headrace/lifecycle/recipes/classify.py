"""Labels for texts: an encoder with a head of one number a class, trained by cross-entropy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import bases
from ..batches import Sequences
from ..inspection import Inspected
from ..loop import freeze
from ..metrics import classification
from ..settings import TrainSettings
from ..splits import class_weights

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


def tokenize(data: Inspected, tokenizer: Any, limit: int) -> Sequences:
    """Token ids of each kept row, special tokens among them, cut at `limit`."""

    def ids() -> Any:
        for _, cells in data.texts():
            texts = [str(text) for text in cells["text"]]
            yield from tokenizer(texts, truncation=True, max_length=limit)["input_ids"]

    return Sequences(ids())


class ClassifyRecipe:
    """Single-label classification."""

    task = "classify"
    metric = "recall_macro"

    def __init__(self, base: str | Path, names: list[str], settings: TrainSettings) -> None:
        import torch

        self.folder = bases.base_folder(base)
        self.names, self.settings = names, settings
        self.tokenizer = bases.load_tokenizer(self.folder)
        torch.manual_seed(settings.seed)  # of the new head
        self.model = bases.load_model(
            "AutoModelForSequenceClassification",
            self.folder,
            num_labels=len(names),
            id2label=dict(enumerate(names)),
            label2id={name: i for i, name in enumerate(names)},
            problem_type="single_label_classification",
            ignore_mismatched_sizes=True,
        )
        freeze(self.model, settings.freeze_layers)
        self.limit = bases.token_limit(self.folder, self.model.config, settings.max_tokens)
        self.lengths: NDArray[np.int64] = np.empty(0, np.int64)

    def encode(self, data: Inspected) -> Sequences:
        """The rows as tokens."""
        return tokenize(data, self.tokenizer, self.limit)

    def use(
        self,
        train: tuple[Sequences, NDArray[Any], NDArray[np.int64]],
        validation: tuple[Sequences, NDArray[Any], NDArray[np.int64]] | None,
    ) -> None:
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
        logits = self._logits(self._tokens, rows)
        labels = torch.from_numpy(self._labels[rows])
        return torch.nn.functional.cross_entropy(logits.float(), labels, self._weights)

    def _logits(self, tokens: Sequences, rows: NDArray[np.int64]) -> torch.Tensor:
        import torch

        ids = torch.from_numpy(tokens.padded(rows, self.tokenizer.pad_token_id or 0))
        width = torch.arange(ids.shape[1])
        mask = (width < torch.from_numpy(tokens.lengths[rows])[:, None]).long()
        logits: torch.Tensor = self.model(input_ids=ids, attention_mask=mask).logits
        return logits

    def validate(self) -> dict[str, float]:
        if self._validation is None or not len(self._validation[2]):
            return {}
        tokens, labels, places = self._validation
        truth = labels[places].astype(np.int64)
        scores = self.scores(tokens, places)
        found = classification.summary(truth, scores.argmax(axis=1), len(self.names))
        found["loss"] = float(-np.log(np.maximum(scores[np.arange(len(truth)), truth], 1e-12)).mean())
        return found

    def scores(self, tokens: Sequences, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Probabilities float32 [rows, classes] of the model as it is, in f32."""
        import torch

        found = np.empty((len(places), len(self.names)), np.float32)
        order = np.argsort(-tokens.lengths[places], kind="stable")
        with torch.inference_mode():
            for i in range(0, len(order), 64):
                part = order[i : i + 64]
                found[part] = self._logits(tokens, places[part]).float().softmax(dim=1).numpy()
        return found

    def save(self, out: Path) -> None:
        """A folder that `headrace serve` serves."""
        bases.save_model(self.model, out)
        bases.save_tokenizer(self.folder, out, self.tokenizer)
        bases.write_manifest(out, self.task)
