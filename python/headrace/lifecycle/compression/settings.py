"""How a model is compressed: every number in one frozen object, which compression.json repeats."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ...errors import InvalidArgumentError, UnsupportedError
from ..settings import TrainSettings

# What each method does, in the order of the documentation.
METHODS = {
    "bf16": "matrices in bfloat16: half the bytes",
    "int8": "matrices in 8 bits, rows of activations scaled as they come (dynamic)",
    "q8": "weights of a language model in 8 bits by groups of 32 (GGUF Q8_0)",
    "q4": "weights of a language model in 4 bits by groups of 32 (GGUF Q4_1)",
    "prune-heads": "the least important attention heads go",
    "prune-neurons": "the least important neurons of the feed-forward blocks go",
    "prune-layers": "the least important layers go",
    "prune-weights": "the smallest weights become 0; the engine gains no speed from it",
    "distill": "a smaller student learns to answer as the model does",
}
IMPORTANCES = ("taylor", "magnitude")
PRECISIONS = ("auto", "f32", "bf16", "int8")
_NOT_OFFERED = {
    "static-int8": "the engine scales each row of activations by its own largest number, as it comes; it reads no "
    "scales from a file, so fixed ones would not be served. int8 is the dynamic form",
}
_TRAINED = ("prune-heads", "prune-neurons", "prune-layers", "prune-weights", "distill")


@dataclass(frozen=True, kw_only=True)
class CompressSettings:
    """What is done, and how much of it.

    Args:
        method: one of METHODS.
        share: of prune-*: the share of heads, neurons, layers or weights that goes, 0 to 1; None: a half.
        importance: of prune-heads, -neurons, -layers. "taylor": how much the loss would change without the part, to
            first order (Molchanov et al. 2019, arXiv:1906.10771; of heads Michel et al. 2019, arXiv:1905.10650).
            "magnitude": how much the part adds to what follows (activations times the norm of their weights, Sun et al.
            2023, arXiv:2306.11695; of layers how far they turn what they are given, Men et al. 2024, arXiv:2403.03853).
        importance_rows: rows of the data that tell it.
        recover_epochs: epochs of training afterwards, by which the rest makes up for what went; of distill: of
            learning. None: 3 of distill, else 0.
        precision: what the result is served in: "auto" is the method's, or else f32.
        student: of distill: a folder; None: layers of the model itself.
        student_layers: of distill without a student: how many layers it has; None: half of them.
        temperature: of distill: by which both models' logits are divided (Hinton et al. 2015, arXiv:1503.02531).
        label_weight: of distill: what the data's own labels weigh, 0 to 1; the teacher's answers have the rest.
        hidden_weight: of distill: what the distance between hidden states weighs beside them; 0: nothing.
        training: the recipe of the recovery; its `epochs` are not looked at.
    """

    method: str
    share: float | None = None
    importance: str = "taylor"
    importance_rows: int = 512
    recover_epochs: int | None = None
    precision: str = "auto"
    student: str | Path | None = None
    student_layers: int | None = None
    temperature: float = 2.0
    label_weight: float = 0.5
    hidden_weight: float = 1.0
    training: TrainSettings = field(default_factory=TrainSettings)

    def __post_init__(self) -> None:
        def require(holds: bool, name: str, rule: str) -> None:
            if not holds:
                raise InvalidArgumentError(f"{name}={getattr(self, name)!r}: must be {rule}")

        if self.method in _NOT_OFFERED:
            raise UnsupportedError(f"method={self.method!r} is not offered: {_NOT_OFFERED[self.method]}")
        require(self.method in METHODS, "method", "one of " + ", ".join(METHODS))
        is_pruning = self.method.startswith("prune-")
        require(self.share is None or is_pruning, "share", f"left out of {self.method}: it is of prune-*")
        require(self.share is None or 0 < self.share < 1, "share", "between 0 and 1, such as 0.5")
        require(self.importance in IMPORTANCES, "importance", "one of " + ", ".join(IMPORTANCES))
        require(self.importance_rows >= 1, "importance_rows", "1 or more")
        epochs = self.recover_epochs
        require(epochs is None or epochs >= 0, "recover_epochs", "0 or more, or None")
        require(not epochs or self.trains, "recover_epochs", f"0 of {self.method}: nothing is to be learned")
        require(self.method != "distill" or epochs != 0, "recover_epochs", "1 or more of distill")
        require(self.precision in PRECISIONS, "precision", "one of " + ", ".join(PRECISIONS))
        require(
            self.trains or self.precision in ("auto", self.method), "precision", f"left out of {self.method}"
        )
        for name in ("student", "student_layers"):
            require(getattr(self, name) is None or self.method == "distill", name, "left out but of distill")
        layers = self.student_layers
        require(layers is None or layers >= 1, "student_layers", "1 or more, or None")
        require(layers is None or self.student is None, "student_layers", "left out where a student is given")
        require(self.temperature > 0, "temperature", "above 0")
        require(0 <= self.label_weight <= 1, "label_weight", "between 0 and 1")
        require(self.hidden_weight >= 0, "hidden_weight", "0 or more")

    @property
    def trains(self) -> bool:
        """Whether the method changes the model's weights with the help of rows."""
        return self.method in _TRAINED

    @property
    def epochs(self) -> int:
        """Epochs of training."""
        if self.recover_epochs is not None:
            return self.recover_epochs
        return 3 if self.method == "distill" else 0

    @property
    def removed(self) -> float:
        """The share that goes."""
        return 0.5 if self.share is None else self.share

    @property
    def served(self) -> str:
        """The precision that headrace.toml names; "auto" of GGUFs, whose groups are kept as they are."""
        if self.method in ("q8", "q4"):
            return "auto"
        if self.trains:
            return "f32" if self.precision == "auto" else self.precision
        return self.method

    def parameters(self) -> dict[str, object]:
        """For the record: what was asked for of this method."""
        found: dict[str, object] = {"precision": self.served}
        if self.method.startswith("prune-"):
            found["share"] = self.removed
        if self.method in ("prune-heads", "prune-neurons", "prune-layers"):
            found |= {"importance": self.importance, "importance_rows": self.importance_rows}
        if self.trains:
            found["epochs"] = self.epochs
        if self.method == "distill":
            found |= {
                "student": None if self.student is None else Path(self.student).name,
                "student_layers": self.student_layers,
                "temperature": self.temperature,
                "label_weight": self.label_weight,
                "hidden_weight": self.hidden_weight,
            }
        return found
