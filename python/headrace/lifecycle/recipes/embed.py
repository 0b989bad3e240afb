"""Vectors that are near for texts that belong together: contrastive, with the other rows of a batch as negatives
(multiple negatives ranking, Henderson et al. 2017, arXiv:1705.00652)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import UnsupportedError
from ..batches import Sequences
from ..cells import as_text
from ..inspection import Inspected
from ..metrics import ranking
from ..settings import TrainSettings
from .encoder import EncoderRecipe, in_portions

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

_SCALE = 20.0  # of cosines: softmax over numbers between -20 and 20
_MOST = 2000  # validation rows that are compared with each other
Encoded = dict[str, Sequences]  # of anchor, positive and perhaps negative
Part = tuple[Encoded, "NDArray[Any]", "NDArray[np.int64]"]
_MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]
_FILES = ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json")


class EmbedRecipe(EncoderRecipe):
    """Pairs (anchor, positive), or triplets with a text that is near and yet wrong."""

    task = "embed"
    kind = "AutoModel"
    metric = "mrr@10"

    def __init__(self, base: str | Path, names: list[str], settings: TrainSettings) -> None:
        super().__init__(base, names, settings)
        self._pooling = self._read_modules()

    def _read_modules(self) -> str:
        """How the base pools: "mean" or "cls". UnsupportedError for modules that would have to be trained too."""
        path = self.folder / "modules.json"
        if not path.is_file():
            return "mean"
        modules = json.loads(path.read_text(encoding="utf-8"))
        kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
        if (
            kinds[:2] != ["Transformer", "Pooling"]
            or not set(kinds[2:]) <= {"Normalize"}
            or modules[0]["path"]
        ):
            raise UnsupportedError(
                f"{self.folder.name}: modules {', '.join(kinds)}: trained are Transformer, Pooling and Normalize, "
                "with the Transformer in the folder itself"
            )
        config = json.loads((self.folder / modules[1]["path"] / "config.json").read_text(encoding="utf-8"))
        modes = [name for name, value in config.items() if name.startswith("pooling_mode_") and value is True]
        known = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
        mode = config.get("pooling_mode", known.get(modes[0]) if len(modes) == 1 else None)
        if mode not in ("mean", "cls"):
            raise UnsupportedError(f"{self.folder.name}: pools by {modes}; trained are mean and cls")
        return str(mode)

    def encode(self, data: Inspected) -> Encoded:
        """Token ids of each part of the rows."""

        def ids(part: str) -> Iterator[list[int]]:
            for _, cells in data.texts():
                texts = [as_text(text) for text in cells[part]]
                yield from self.tokenizer(texts, truncation=True, max_length=self.limit)["input_ids"]

        parts = [part for part in ("anchor", "positive", "negative") if part in data.report.columns]
        return {part: Sequences(ids(part)) for part in parts}

    def use(self, train: Part, validation: Part | None) -> None:
        """Takes (tokens by part, labels, places) of the rows that train and of those that choose."""
        self._tokens, _, self._places = train
        self._validation = validation
        self.lengths = np.sum([tokens.lengths[self._places] for tokens in self._tokens.values()], axis=0)

    def vectors(self, tokens: Sequences, rows: NDArray[np.int64]) -> torch.Tensor:
        """Vectors [rows, dimensions] of length 1."""
        import torch

        inputs = self.inputs(tokens, rows)
        states = self.model(**inputs).last_hidden_state.float()
        if self._pooling == "cls":
            pooled = states[:, 0]
        else:
            mask = inputs["attention_mask"][..., None].float()
            pooled = (states * mask).sum(dim=1) / mask.sum(dim=1)
        return torch.nn.functional.normalize(pooled, dim=1)

    def loss(self, places: NDArray[np.int64]) -> torch.Tensor:
        import torch

        rows = self._places[places]
        anchors = self.vectors(self._tokens["anchor"], rows)
        parts = [part for part in ("positive", "negative") if part in self._tokens]
        others = torch.cat([self.vectors(self._tokens[part], rows) for part in parts])
        scores = _SCALE * anchors @ others.T
        # Another row with the same anchor or the same positive is no negative.
        same = _equal(self._tokens["positive"], rows) | _equal(self._tokens["anchor"], rows)
        hidden = torch.zeros(scores.shape, dtype=torch.bool)
        hidden[:, : len(rows)] = torch.from_numpy(same & ~np.eye(len(rows), dtype=bool))
        return torch.nn.functional.cross_entropy(
            scores.masked_fill(hidden, float("-inf")), torch.arange(len(rows))
        )

    def validate(self) -> dict[str, float]:
        if self._validation is None or not len(self._validation[2]):
            return {}
        tokens, _, places = self._validation
        places = places[:_MOST]
        sides = []
        for part in ("anchor", "positive"):
            found = np.empty((len(places), self.model.config.hidden_size), np.float32)
            for portion in in_portions(tokens[part].lengths[places]):
                found[portion] = self.vectors(tokens[part], places[portion]).numpy()
            sides.append(found)
        same = _equal(tokens["positive"], places) | _equal(tokens["anchor"], places)
        relevant = [set(np.flatnonzero(row).tolist()) for row in same]
        figures = ranking.retrieval(sides[0] @ sides[1].T, relevant)
        return {name: float(figures[name].mean()) for name in ("mrr@10", "recall@1", "recall@10")}

    def save(self, out: Path) -> None:
        super().save(out)
        for name in _FILES:
            if (self.folder / name).is_file():
                shutil.copyfile(self.folder / name, out / name)
        pooling = self.folder / "1_Pooling"
        if (self.folder / "modules.json").is_file():
            shutil.copytree(pooling, out / "1_Pooling", dirs_exist_ok=True)
            return
        (out / "modules.json").write_text(json.dumps(_MODULES, indent=1), encoding="utf-8")
        (out / "1_Pooling").mkdir(exist_ok=True)
        config = {
            "word_embedding_dimension": self.model.config.hidden_size,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
        }
        (out / "1_Pooling" / "config.json").write_text(json.dumps(config), encoding="utf-8")


def _equal(tokens: Sequences, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """bool [rows, rows]: whether two rows have the same tokens."""
    keys = [tokens[row].tobytes() for row in rows]
    numbers = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    column = np.asarray([numbers[key] for key in keys])
    return np.asarray(column[:, None] == column)
