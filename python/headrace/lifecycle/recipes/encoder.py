"""What the recipes with an encoder have in common: the model's files, and rows as its inputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import bases
from ..batches import Sequences
from ..loop import freeze
from ..settings import TrainSettings

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

EVALUATION_BATCH = 64


class EncoderRecipe:
    """An encoder of a base model, with a head by one of transformers' auto classes."""

    task = ""
    kind = ""  # of the auto class

    def __init__(self, base: str | Path, names: list[str], settings: TrainSettings, **options: Any) -> None:
        import torch

        self.folder = bases.base_folder(base)
        self.names, self.settings = names, settings
        self.tokenizer = bases.load_tokenizer(self.folder)
        torch.manual_seed(settings.seed)  # of a new head
        self.model = bases.load_model(self.kind, self.folder, **options)
        freeze(self.model, settings.freeze_layers)
        self.limit = bases.token_limit(self.folder, self.model.config, settings.max_tokens)
        self.lengths: NDArray[np.int64] = np.empty(0, np.int64)

    def inputs(
        self, tokens: Sequences, rows: NDArray[np.int64], types: Sequences | None = None
    ) -> dict[str, torch.Tensor]:
        """input_ids, attention_mask and, of pairs, token_type_ids: int64 [rows, longest]."""
        import torch

        ids = torch.from_numpy(tokens.padded(rows, self.tokenizer.pad_token_id or 0))
        places = torch.arange(ids.shape[1])
        found = {
            "input_ids": ids,
            "attention_mask": (places < torch.from_numpy(tokens.lengths[rows])[:, None]).long(),
        }
        if types is not None:
            found["token_type_ids"] = torch.from_numpy(types.padded(rows, 0))
        return found

    def save(self, out: Path) -> None:
        """A folder that `headrace serve` serves."""
        bases.save_model(self.model, out)
        bases.save_tokenizer(self.folder, out, self.tokenizer)
        bases.write_manifest(out, self.task)


def in_portions(lengths: NDArray[np.int64], size: int = EVALUATION_BATCH) -> list[NDArray[np.int64]]:
    """Places of rows in portions of nearly one length, the longest first: little padding, no surprise at the end."""
    order = np.argsort(-lengths, kind="stable")
    return [order[i : i + size] for i in range(0, len(order), size)]
