"""Names, places and the like in texts: an encoder with a tag for each token.

A sentence of words is trained on as it will be served: as one text with spaces between. Each token of a word learns the
word's tag, the later ones as its continuation (B-PER, I-PER), so that every way of joining tokens finds the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..batches import Sequences
from ..cells import as_list
from ..inspection import Inspected
from ..metrics import entities
from ..settings import TrainSettings
from .encoder import EncoderRecipe, in_portions

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

_IGNORED = -100  # what torch's cross_entropy leaves out
Encoded = tuple[Sequences, Sequences, Sequences]  # tokens, tags, 1 for the first token of a word
Part = tuple[Encoded, "NDArray[Any]", "NDArray[np.int64]"]


def words_of(offsets: list[tuple[int, int]], words: list[str]) -> NDArray[np.int64]:
    """The word of each token, -1 for special ones; words stand in the text with one space between.

    >>> words_of([(0, 0), (0, 3), (3, 5), (6, 8), (0, 0)], ["Maria", "is"]).tolist()
    [-1, 0, 0, 1, -1]
    """
    ends = np.cumsum([len(word) + 1 for word in words])
    # The last character of a token: its first may be the space before the word.
    return np.asarray([-1 if a == b else int(np.searchsorted(ends, b - 1, "right")) for a, b in offsets])


class TagRecipe(EncoderRecipe):
    """Token classification, judged by whole entities."""

    task = "tag"
    kind = "AutoModelForTokenClassification"
    metric = "f1_micro"

    def __init__(self, base: str | Path, names: list[str], settings: TrainSettings) -> None:
        super().__init__(
            base,
            names,
            settings,
            num_labels=len(names),
            id2label=dict(enumerate(names)),
            label2id={name: i for i, name in enumerate(names)},
            ignore_mismatched_sizes=True,
        )
        self._continued = [
            names.index(f"I-{name[2:]}") if name[:2] == "B-" and f"I-{name[2:]}" in names else i
            for i, name in enumerate(names)
        ]

    def encode(self, data: Inspected) -> Encoded:
        """Token ids, tags and marks of first tokens of each row."""
        number = {name: i for i, name in enumerate(self.names)}
        tags: list[list[int]] = []
        marks: list[list[int]] = []

        def ids() -> Iterator[list[int]]:
            for _, cells in data.texts():
                sentences = [as_list(cell) for cell in cells["tokens"]]
                texts = [" ".join(words) for words in sentences]
                found = self.tokenizer(
                    texts, truncation=True, max_length=self.limit, return_offsets_mapping=True
                )
                for row, words in enumerate(sentences):
                    told = [number[tag] for tag in as_list(cells["tags"][row])]
                    places = words_of(found["offset_mapping"][row], words)
                    is_first = np.r_[True, places[1:] != places[:-1]] & (places >= 0)
                    marks.append(is_first.astype(int).tolist())
                    tags.append(
                        [
                            _IGNORED if place < 0 else told[place] if first else self._continued[told[place]]
                            for place, first in zip(places.tolist(), is_first.tolist(), strict=True)
                        ]
                    )
                    yield found["input_ids"][row]

        tokens = Sequences(ids())
        return tokens, Sequences(tags), Sequences(marks)

    def use(self, train: Part, validation: Part | None) -> None:
        """Takes ((tokens, tags, marks), labels, places) of the rows that train and of those that choose."""
        (self._tokens, self._tags, _), _, self._places = train
        self._validation = validation
        self.lengths = self._tokens.lengths[self._places]

    def loss(self, places: NDArray[np.int64]) -> torch.Tensor:
        import torch

        rows = self._places[places]
        logits = self.model(**self.inputs(self._tokens, rows)).logits
        tags = torch.from_numpy(self._tags.padded(rows, _IGNORED))
        return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), tags.flatten())

    def validate(self) -> dict[str, float]:
        if self._validation is None or not len(self._validation[2]):
            return {}
        (tokens, tags, marks), _, places = self._validation
        truth: list[list[entities.Span]] = []
        found: list[list[entities.Span]] = []
        for part in in_portions(tokens.lengths[places]):
            rows = places[part]
            answers = self.model(**self.inputs(tokens, rows)).logits.argmax(dim=2).numpy()
            for answer, row in zip(answers, rows, strict=True):
                is_first = marks[row].astype(bool)
                for numbers, spans in ((tags[row], truth), (answer[: len(is_first)], found)):
                    spans.append(entities.spans_of([self.names[i] for i in numbers[is_first]]))
        figures = entities.score(truth, found)["micro"]
        return {f"{name}_micro": figures[name] for name in ("precision", "recall", "f1")}
