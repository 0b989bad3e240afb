"""How well a document answers a query: a cross-encoder with one number, trained by binary cross-entropy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InvalidArgumentError
from .. import bases
from ..batches import Sequences
from ..cells import as_text
from ..inspection import Inspected
from ..metrics import classification
from ..settings import TrainSettings
from .encoder import EncoderRecipe, in_portions

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

Encoded = tuple[Sequences, "Sequences | None"]  # tokens, which text each belongs to
Part = tuple[Encoded, "NDArray[Any]", "NDArray[np.int64]"]


class RerankRecipe(EncoderRecipe):
    """Pairs with a label between 0 (no answer) and 1 (the answer)."""

    task = "rerank"
    kind = "AutoModelForSequenceClassification"
    metric = "loss"

    def __init__(self, base: str | Path, names: list[str], settings: TrainSettings) -> None:
        super().__init__(base, names, settings, num_labels=1, ignore_mismatched_sizes=True)

    def encode(self, data: Inspected) -> Encoded:
        """Token ids of each pair; a document that is too long is cut, its query is not."""
        outside = np.flatnonzero((data.labels < 0) | (data.labels > 1))
        if len(outside):
            raise InvalidArgumentError(
                f"{data.path.name}: row {data.rows[outside[0]]}: label {data.labels[outside[0]]:g}: must be between "
                "0 (the document does not answer the query) and 1 (it does)"
            )
        types: list[list[int]] = []

        def ids() -> Iterator[list[int]]:
            for _, cells in data.texts():
                queries, documents = (
                    [as_text(text) for text in cells[part]] for part in ("query", "document")
                )
                try:
                    found = self.tokenizer(
                        queries, documents, truncation="only_second", max_length=self.limit
                    )
                except Exception as error:  # the tokenizers' library raises Exception itself
                    raise InvalidArgumentError(
                        f"{data.path.name}: a query leaves its document no room in {self.limit} tokens: {error}"
                    ) from None
                types.extend(found.get("token_type_ids", []))
                yield from found["input_ids"]

        tokens = Sequences(ids())
        return tokens, Sequences(types) if types else None

    def use(self, train: Part, validation: Part | None) -> None:
        """Takes ((tokens, types), labels, places) of the rows that train and of those that choose."""
        (self._tokens, self._types), labels, self._places = train
        self._labels = labels.astype(np.float32)
        self._validation = validation
        self.lengths = self._tokens.lengths[self._places]

    def loss(self, places: NDArray[np.int64]) -> torch.Tensor:
        import torch

        rows = self._places[places]
        logits = self.model(**self.inputs(self._tokens, rows, self._types)).logits[:, 0]
        labels = torch.from_numpy(self._labels[rows])
        return torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), labels)

    def validate(self) -> dict[str, float]:
        import torch

        if self._validation is None or not len(self._validation[2]):
            return {}
        (tokens, types), labels, places = self._validation
        logits = np.empty(len(places), np.float32)
        for part in in_portions(tokens.lengths[places]):
            logits[part] = self.model(**self.inputs(tokens, places[part], types)).logits[:, 0].float().numpy()
        truth = torch.from_numpy(labels[places].astype(np.float32))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(torch.from_numpy(logits), truth)
        found = {"loss": float(loss)}
        is_answer = labels[places] > 0.5
        if is_answer.any():
            found["average_precision"] = classification.average_precision(is_answer, logits)
        return found

    def save(self, out: Path) -> None:
        super().save(out)
        # One label and no problem_type: a cross-encoder, whose number a sigmoid brings between 0 and 1.
        bases.set_config(out, problem_type=None)
