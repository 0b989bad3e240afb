"""tag: pieces of a text and what they are, by a model that labels tokens.

The strategies and their results are those of transformers' token-classification pipeline: "none" gives each token
by itself, "simple" joins neighbours of one kind, and the others first make the tokens of a word agree, by its
first token, by the mean of its tokens or by the surest one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from .. import inputs
from ..errors import InvalidArgumentError
from ..results import Entity
from .job import Job, Terms, check_count, submit_inputs
from .scores import scores_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .. import _core
    from ..loaded_model import Model

Aggregation = Literal["none", "simple", "first", "average", "max"]
MAX_STRIDE = 1 << 20
_DEFAULT_STRIDE = 128


class _Piece(NamedTuple):
    """A token, a word or a group: what it is, how sure that is, and its place in characters."""

    label: str
    score: float
    start: int
    end: int


class TagJob(Job[list[Entity]]):
    """One list of entities a text, in the order of the text."""

    task = "tag"
    inline_tokens = 512

    def __init__(
        self,
        texts: str | Iterable[str],
        *,
        aggregation: str = "simple",
        stride: int | None = None,
        ignore_labels: Iterable[str] = ("O",),
    ) -> None:
        self.items: Sequence[str] = inputs.as_texts(texts)
        if aggregation not in inputs.AGGREGATIONS:
            raise InvalidArgumentError(
                f"aggregation={aggregation!r}: must be one of {', '.join(inputs.AGGREGATIONS)}"
            )
        self._aggregation = aggregation
        self._stride = None if stride is None else check_count("stride", stride, 0, MAX_STRIDE)
        self._ignored = frozenset([ignore_labels] if isinstance(ignore_labels, str) else ignore_labels)

    def submit(self, model: Model, items: Sequence[str], terms: Terms) -> _core.Ticket:
        stride = self._stride
        if stride is None:
            stride = min(_DEFAULT_STRIDE, model.info.max_tokens // 4)
        return submit_inputs(model, list(items), terms, stride=stride)

    def read(self, model: Model, items: Sequence[str], ticket: _core.Ticket) -> list[list[Entity]]:
        scores = scores_of(ticket.vectors(), "softmax")
        starts = ticket.row_starts
        found: list[list[list[_Piece]]] = [[] for _ in items]
        for window, begin, end in zip(ticket.windows(), starts, starts[1:], strict=False):
            pieces = self._pieces(model, items[window.input], window, scores[begin:end])
            found[window.input].append([piece for piece in pieces if piece.label not in self._ignored])
        return [
            [Entity(p.label, p.score, p.start, p.end, text[p.start : p.end]) for p in _merged(windows)]
            for text, windows in zip(items, found, strict=True)
        ]

    def _pieces(
        self, model: Model, text: str, window: _core.Window, scores: NDArray[np.float32]
    ) -> list[_Piece]:
        own = window.sequence_ids >= 0
        scores, offsets = scores[own], window.offsets[own].tolist()
        labels = model.info.labels
        if self._aggregation in ("none", "simple"):
            best = scores.argmax(axis=1)
            surety = scores.max(axis=1).tolist()
            pieces = [
                _Piece(labels[kind], score, start, end)
                for kind, score, (start, end) in zip(best.tolist(), surety, offsets, strict=True)
            ]
        else:
            continues = _subwords(model.tokenizer, text, window.ids[own].tolist(), offsets)
            pieces = self._words(labels, scores, offsets, continues)
        return pieces if self._aggregation == "none" else _grouped(pieces)

    def _words(
        self,
        labels: Sequence[str],
        scores: NDArray[np.float32],
        offsets: list[list[int]],
        continues: list[bool],
    ) -> list[_Piece]:
        import numpy as np

        if not continues:
            return []
        heads = np.flatnonzero([True, *(not goes_on for goes_on in continues[1:])])
        rows: Any
        if self._aggregation == "first":
            rows = scores[heads]
        elif self._aggregation == "average":
            sizes = np.diff(heads, append=len(scores))
            rows = np.add.reduceat(scores, heads, axis=0) / sizes[:, None].astype(np.float32)
        else:
            surety = scores.max(axis=1)
            sizes = np.diff(heads, append=len(scores))
            largest = np.repeat(np.maximum.reduceat(surety, heads), sizes)
            places = np.where(surety == largest, np.arange(len(scores)), len(scores))
            rows = scores[np.minimum.reduceat(places, heads)]  # the first of the surest
        starts, ends = heads.tolist(), [*(heads[1:] - 1).tolist(), len(scores) - 1]
        return [
            _Piece(labels[kind], score, offsets[begin][0], offsets[end][1])
            for kind, score, begin, end in zip(
                rows.argmax(axis=1).tolist(), rows.max(axis=1).tolist(), starts, ends, strict=True
            )
        ]


def _subwords(tokenizer: Any, text: str, ids: list[int], offsets: list[list[int]]) -> list[bool]:
    """For each token whether it goes on with the word of the one before it, as the reference judges."""
    unknown = {tokenizer.token_to_id("[UNK]"), tokenizer.token_to_id("<unk>")}
    if tokenizer.kind == "WordPiece":
        # "##ing" is longer than the text that it stands for.
        lengths = [len(tokenizer.id_to_token(token) or "") for token in ids]
        goes_on = [n != end - begin for n, (begin, end) in zip(lengths, offsets, strict=True)]
    else:
        goes_on = [begin > 0 and " " not in text[begin - 1 : begin + 1] for begin, _ in offsets]
    return [flag and token not in unknown for flag, token in zip(goes_on, ids, strict=True)]


@lru_cache(maxsize=4096)
def _tag_of(label: str) -> tuple[bool, str]:
    """Whether a label begins a new entity, and of what kind: "B-PER" -> (True, "PER")."""
    if label.startswith(("B-", "I-")):
        return label[0] == "B", label[2:]
    return False, label


def _grouped(pieces: list[_Piece]) -> list[_Piece]:
    """Neighbours of one kind made one, but where a label says that a new one begins."""
    groups: list[list[_Piece]] = []
    last = ""
    for piece in pieces:
        begins, kind = _tag_of(piece.label)
        if groups and kind == last and not begins:
            groups[-1].append(piece)
        else:
            groups.append([piece])
        last = kind
    return [
        _Piece(
            group[0].label.split("-", 1)[-1],
            sum(piece.score for piece in group) / len(group),
            group[0].start,
            group[-1].end,
        )
        for group in groups
    ]


def _merged(windows: list[list[_Piece]]) -> list[_Piece]:
    """The pieces of all windows; of those that overlap the longest counts, then the surest."""
    if len(windows) <= 1:
        return [piece for window in windows for piece in window]
    pieces = sorted((piece for window in windows for piece in window), key=lambda piece: piece.start)
    kept: list[_Piece] = []
    for piece in pieces:
        if not kept or not kept[-1].start <= piece.start < kept[-1].end:
            kept.append(piece)
            continue
        last = kept[-1]
        if (piece.end - piece.start, piece.score) > (last.end - last.start, last.score):
            kept[-1] = piece
    return kept
