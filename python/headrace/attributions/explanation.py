"""What an explanation holds, and how it shows itself: in a terminal, in a notebook, as JSON, as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgumentError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .coalitions import Plan

MAX_EVALUATIONS = 256  # of an explanation, unless asked for otherwise
MAX_REQUEST = 2048  # of all that one request over HTTP asks for; of pictures, each of which is a megabyte:
MAX_REQUEST_IMAGES = 256


@dataclass(frozen=True)
class Options:
    """How to explain.

    Args:
        method: "auto", "shap" or "occlusion": see `coalitions.plan`.
        target: the label, output or place in it whose score is explained; None: the best label or first number.
        max_evaluations: how often the model may be asked.
        segments: so many pieces at most: of a text neighbouring words are joined, of a picture patches are larger.
        baseline: of functions and tensors: the item that stands for "not there"; None: the mean of the examples in the
            model's folder, or zeros.
        seed: of the permutations.
    """

    method: str = "auto"
    target: str | int | None = None
    max_evaluations: int = MAX_EVALUATIONS
    segments: int | None = None
    baseline: Any = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.segments is not None and self.segments < 1:
            raise InvalidArgumentError(f"segments={self.segments}: must be 1 or more, or None")


@dataclass(frozen=True, repr=False)
class Explanation:
    """What each piece of one input did for the score of `target`.

    Args:
        kind: "text", "image" or "features".
        target: the label, or the output, that is explained.
        method: "shap", "occlusion" or "integrated_gradients".
        names: of the pieces: words, patches, features.
        attributions: float64 [pieces]; above 0 the piece speaks for the target.
        value: the score of the input.
        baseline_value: the score when no piece is there.
        evaluations: how often the model was asked.
        errors: standard errors [pieces] where the attributions are sampled, else None.
        baseline: what stands for a piece that is not there.
        text, spans: of a text: itself, and where each piece begins and ends in it.
        picture, groups: of a picture: uint8 [height, width, 3], and the piece of each pixel.
        values: of features: their values, None for blocks.
    """

    kind: str
    target: str
    method: str
    names: list[str]
    attributions: NDArray[np.float64]
    value: float
    baseline_value: float
    evaluations: int
    errors: NDArray[np.float64] | None = None
    baseline: str = ""
    text: str | None = None
    spans: Sequence[tuple[int, int]] = ()
    picture: NDArray[np.uint8] | None = None
    groups: NDArray[np.int64] | None = None
    values: Sequence[Any] = ()

    @property
    def gap(self) -> float:
        """How far the attributions' sum is from value - baseline_value: for shap rounding alone, for integrated
        gradients what the steps leave, for occlusion nothing that is promised."""
        return abs(float(self.attributions.sum()) - (self.value - self.baseline_value))

    def top(self, count: int = 10) -> list[tuple[str, float]]:
        """The pieces that did most, for or against, with their attributions."""
        order = abs(self.attributions).argsort(kind="stable")[::-1][:count]
        return [(self.names[i], float(self.attributions[i])) for i in order]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        pieces: list[dict[str, Any]] = []
        for i, (name, attribution) in enumerate(zip(self.names, self.attributions.tolist(), strict=True)):
            piece: dict[str, Any] = {"name": name, "attribution": attribution}
            if self.spans:
                piece["start"], piece["end"] = self.spans[i]
            if len(self.values) and self.values[i] is not None:
                piece["value"] = self.values[i]
            if self.errors is not None:
                piece["error"] = float(self.errors[i])
            pieces.append(piece)
        return {
            "target": self.target,
            "method": self.method,
            "value": self.value,
            "baseline_value": self.baseline_value,
            "baseline": self.baseline,
            "evaluations": self.evaluations,
            "pieces": pieces,
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any], text: str | None = None) -> Explanation:
        """What `to_dict` made of one; of a picture its pixels are gone. `text`: that which was explained."""
        import numpy as np

        pieces = told["pieces"]
        has_errors = bool(pieces) and "error" in pieces[0]
        has_spans = bool(pieces) and "start" in pieces[0]
        return cls(
            kind="image" if "grid" in told else "text" if has_spans else "features",
            target=told["target"],
            method=told["method"],
            names=[piece["name"] for piece in pieces],
            attributions=np.array([piece["attribution"] for piece in pieces], np.float64),
            value=told["value"],
            baseline_value=told["baseline_value"],
            evaluations=told["evaluations"],
            errors=np.array([piece["error"] for piece in pieces]) if has_errors else None,
            baseline=told["baseline"],
            text=text if has_spans else None,
            spans=[(piece["start"], piece["end"]) for piece in pieces] if has_spans else (),
            values=[piece.get("value") for piece in pieces],
        )

    @property
    def headline(self) -> str:
        """One line about what is explained, and how."""
        return (
            f"{self.target}: {self.value:.4f}; {self.baseline_value:.4f} without anything ({self.baseline}); "
            f"{self.method}, {self.evaluations} evaluations"
        )

    def __str__(self) -> str:
        from .show import bars

        return bars(self)

    __repr__ = __str__

    def coloured(self) -> str:
        """For a terminal: a text with its words on colours, anything else as bars."""
        from .show import terminal

        return terminal(self)

    def _repr_html_(self) -> str:
        from .show import html

        return html(self)

    def write_html(self, path: str | Path) -> None:
        """A page that needs no other file."""
        from .show import page

        Path(path).write_text(page([self]), encoding="utf-8")


def explained(
    plan: Plan, answers: Any, *, kind: str, target: str, names: list[str], baseline: str, **shown: Any
) -> Explanation:
    """The explanation that the answers to a plan's masks give: a number for each."""
    import numpy as np

    scores = np.asarray(answers, dtype=np.float64)
    attributions, errors = plan.attributions(scores)
    return Explanation(
        kind=kind,
        target=target,
        method=plan.method,
        names=names,
        attributions=attributions,
        value=float(scores[0]),
        baseline_value=float(scores[1]),
        evaluations=len(scores),
        errors=errors,
        baseline=baseline,
        **shown,
    )
