"""What a training gave."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .loop import History
from .problems import DataReport

if TYPE_CHECKING:
    from .evaluation import Evaluation


@dataclass(repr=False)
class Training:
    """What a training gave: the folder, what the data were, what happened, and how good the model is in our engine.

    `test` is None where no rows were held out for it; `cross_validation` has the figures of each fold.
    """

    out: Path
    task: str
    data: DataReport
    rows: dict[str, int]
    history: History
    seconds: float
    base: str
    test: Evaluation | None = None
    cross_validation: list[dict[str, float]] = field(default_factory=list)

    @property
    def metrics(self) -> dict[str, float]:
        """The test's figures, or else those of the best epoch's validation."""
        if self.test is not None:
            return self.test.metrics
        best = self.history.best_epoch
        return self.history.epochs[best - 1].validation if best else {}

    def __str__(self) -> str:
        parts = ", ".join(f"{count} {part}" for part, count in self.rows.items())
        lines = [f"{self.out}: {self.task}, rows: {parts}; {self.seconds:.1f} s"]
        for record in self.history.epochs:
            told = ", ".join(f"{name} {value:.4f}" for name, value in record.validation.items())
            kept = " (kept)" if record.epoch == self.history.best_epoch else ""
            lines.append(
                f"  epoch {record.epoch}: loss {record.loss:.4f}, {record.rows_per_second:.0f} rows/s"
                + (f"; validation: {told}" if told else "")
                + kept
            )
        if self.cross_validation:
            for name in self.cross_validation[0]:
                values = [fold[name] for fold in self.cross_validation]
                lines.append(
                    f"  {len(values)} folds: {name} {np.mean(values):.4f} +- {np.std(values, ddof=1):.4f}"
                )
        if self.test is not None:
            lines.append(
                "test: " + ", ".join(f"{name} {value:.4f}" for name, value in self.test.headline.items())
            )
        served = f"{self.base} --adapter {self.out.name}={self.out}" if self.task == "generate" else self.out
        lines.append(f"serve it by: headrace serve {served}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from .plots import losses_svg
        from .report import pre

        return f"{pre(str(self))}{losses_svg(self.history)}"
