"""What the tasks answer with: small frozen objects that `msgspec` and `dataclasses.asdict` know how to write."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Label:
    """A label and its score: a probability, or the plain number of a model that regresses."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Detection:
    """A thing on a picture: `box` is x1, y1, x2, y2 in its pixels, the upper left corner being 0, 0."""

    label: str
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Ranked:
    """A document's place in a ranking: `index` is its place in the list given."""

    index: int
    score: float
    document: str


@dataclass(frozen=True, slots=True)
class Entity:
    """A piece of a text and what it is: `text` is characters `start` to `end` of the text given."""

    label: str
    score: float
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Span:
    """A possible answer: `text` is characters `start` to `end` of the context."""

    text: str
    score: float
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The best answer to a question, the next best ones, and how sure the model is that the context has none.

    `best` is None where the model thinks so, if that was allowed by `no_answer=True`, or where the context has no
    token to answer with. `spans` are the `top_k` best, best first.
    """

    best: Span | None
    spans: tuple[Span, ...]
    no_answer_score: float

    @property
    def text(self) -> str:
        """The best answer's text, or "" when there is none."""
        return "" if self.best is None else self.best.text

    @property
    def score(self) -> float:
        """The best answer's score, or that of there being none."""
        return self.no_answer_score if self.best is None else self.best.score


@dataclass(frozen=True, slots=True)
class Candidate:
    """A token for a masked place: as text, as an id of the vocabulary, and its probability."""

    text: str
    id: int
    score: float
