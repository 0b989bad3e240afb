"""How a model is trained: every number in one frozen object, which training.json repeats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ..errors import InvalidArgumentError

PRECISIONS = ("auto", "f32", "bf16")
SCHEDULES = ("linear", "cosine", "constant")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The recipe of a training; the defaults suit the fine-tuning of an encoder.

    Args:
        epochs: how often each row is seen, at most; `patience` may end it sooner.
        batch_size: rows a step.
        learning_rate: the highest one; it rises over the first `warmup` share of all steps, then falls by `schedule`.
        schedule: "linear" or "cosine" down to 0, or "constant".
        warmup: share of the steps, 0 to 1.
        weight_decay: of AdamW, for matrices; biases and norms have none.
        clip: the longest gradient (norm over all parameters); None: no limit.
        seed: of the split, the new weights, the order and the dropout. One seed on one machine gives one model.
        precision: "bf16" multiplies in bfloat16 (autocast; the weights stay f32), "f32" does not, "auto" takes bf16
            where the processor has instructions for it.
        max_tokens: longer texts are cut for the training; None: 256, or what the model takes if that is less.
        patience: epochs without a better validation after which the training ends; None: it runs to its end.
        class_weights: "balanced" weighs rare classes up; None: each row counts the same.
        checkpoint_steps: steps between checkpoints within an epoch, besides the one at its end; None: each minute.
        freeze_layers: so many of the lower layers, and the embeddings, keep their weights: faster, for small data.
        folds: cross-validation with so many folds before the final training; None: none.
        validation, test: shares of the rows that are held out, where no files are given for it.
        lora_rank, lora_alpha: of generate: the size and the weight of the adapter.
    """

    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 5e-5
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup: float = 0.06
    weight_decay: float = 0.01
    clip: float | None = 1.0
    seed: int = 0
    precision: Literal["auto", "f32", "bf16"] = "auto"
    max_tokens: int | None = None
    patience: int | None = None
    class_weights: Literal["balanced"] | None = None
    checkpoint_steps: int | None = None
    freeze_layers: int = 0
    folds: int | None = None
    validation: float = 0.1
    test: float = 0.1
    lora_rank: int = 8
    lora_alpha: int = 16

    def __post_init__(self) -> None:
        def require(holds: bool, name: str, rule: str) -> None:
            if not holds:
                raise InvalidArgumentError(f"{name}={getattr(self, name)!r}: must be {rule}")

        for name in ("epochs", "batch_size", "lora_rank", "lora_alpha"):
            require(getattr(self, name) >= 1, name, "1 or more")
        require(0 < self.learning_rate < 1, "learning_rate", "between 0 and 1, such as 5e-5")
        require(0 <= self.warmup < 1, "warmup", "a share of the steps, 0 to 1")
        require(self.weight_decay >= 0, "weight_decay", "0 or more")
        require(self.clip is None or self.clip > 0, "clip", "above 0, or None")
        require(0 <= self.seed < 1 << 32, "seed", "between 0 and 4294967295")
        require(self.precision in PRECISIONS, "precision", "one of " + ", ".join(PRECISIONS))
        require(self.schedule in SCHEDULES, "schedule", "one of " + ", ".join(SCHEDULES))
        require(self.max_tokens is None or self.max_tokens >= 8, "max_tokens", "8 or more, or None")
        require(self.patience is None or self.patience >= 1, "patience", "1 or more, or None")
        require(self.class_weights in (None, "balanced"), "class_weights", "balanced, or None")
        require(self.folds is None or self.folds >= 2, "folds", "2 or more, or None")
        require(self.freeze_layers >= 0, "freeze_layers", "0 or more")
        steps = self.checkpoint_steps
        require(steps is None or steps >= 1, "checkpoint_steps", "1 or more, or None")


# What suits networks that are trained from nothing, where the defaults suit encoders that know a lot already.
_FROM_SCRATCH: dict[str, dict[str, Any]] = {
    "tabular": {"epochs": 30, "learning_rate": 3e-3, "batch_size": 64, "precision": "f32"},
    "recommend": {
        "epochs": 40, "learning_rate": 3e-3, "batch_size": 64, "weight_decay": 0.02, "schedule": "constant",
        "warmup": 0.0, "precision": "f32",
    },
    "image": {"epochs": 10, "learning_rate": 2.5e-3, "precision": "f32"},
}  # fmt: skip


def settings_for(task: str, *, from_scratch: bool = True, **given: Any) -> TrainSettings:
    """The settings of a task: its own defaults, but for what is given."""
    return TrainSettings(**{**(_FROM_SCRATCH.get(task, {}) if from_scratch else {}), **given})


def learning_rate_at(settings: TrainSettings, step: int, steps: int) -> float:
    """The learning rate of step `step`, from 0, of `steps`.

    >>> recipe = TrainSettings(learning_rate=0.1, warmup=0.5)
    >>> [round(learning_rate_at(recipe, step, 8), 3) for step in range(8)]
    [0.025, 0.05, 0.075, 0.1, 0.1, 0.075, 0.05, 0.025]
    """
    import math

    warm = round(settings.warmup * steps)
    if step < warm:
        return settings.learning_rate * (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    if settings.schedule == "constant":
        return settings.learning_rate
    if settings.schedule == "cosine":
        return settings.learning_rate * (1 + math.cos(math.pi * done)) / 2
    return settings.learning_rate * (1 - done)
