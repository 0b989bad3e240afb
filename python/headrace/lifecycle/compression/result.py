"""What a compression cost and gave: as text, as compression.json, in the model card."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...memory import show_bytes
from .. import lineage
from ..evaluation import Evaluation, plain
from ..metrics.resampling import Difference
from .speed import Gain

if TYPE_CHECKING:
    from ..loop import History

_LESS_IS_BETTER = ("perplexity", "bits_per_byte", "loss", "log_loss", "mae", "rmse")


@dataclass(frozen=True)
class Size:
    """Bytes of the weights' files, and of the weights in the engine; how many numbers they are."""

    disk: int
    memory: int
    parameters: int


@dataclass(repr=False)
class Compression:
    """A compressed model, beside the one that it was made of.

    Args:
        out: its folder.
        task, base, method: what was done to what.
        parameters: what was asked for; `done` what that came to, such as which layers stay.
        before, after: the figures in our engine, of the base in f32 and of the result as it is served: the same rows.
        differences: `after` less `before`, paired, with intervals.
        sizes: of both.
        gain: how much faster the result is in our engine.
        history: of the recovery, or of the student's learning.
        notes: what a reader should know.
    """

    out: Path
    task: str
    base: str
    method: str
    parameters: dict[str, Any]
    done: dict[str, Any]
    before: Evaluation
    after: Evaluation
    differences: list[Difference]
    sizes: tuple[Size, Size]
    gain: Gain
    history: History | None = None
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def lost(self) -> Difference | None:
        """The first figure's difference: what was lost of it, where it is below 0 (of perplexity: above)."""
        return self.differences[0] if self.differences else None

    def to_dict(self) -> dict[str, Any]:
        """For JSON and compression.json."""
        found = plain(
            {
                "method": self.method,
                "task": self.task,
                "parameters": self.parameters,
                "done": self.done,
                "quality": {
                    "data": self.after.data,
                    "rows": self.after.rows,
                    "before": {"metrics": self.before.metrics, "intervals": self.before.intervals},
                    "after": {"metrics": self.after.metrics, "intervals": self.after.intervals},
                    "differences": self.differences,
                },
                "size": {"before": asdict(self.sizes[0]), "after": asdict(self.sizes[1])},
                "speed": {**asdict(self.gain), "is_real": self.gain.is_real},
                "history": None if self.history is None else self.history.to_dict(),
                "notes": self.notes,
                "seconds": round(self.seconds, 3),
            }
        )
        assert isinstance(found, dict)
        return found

    def _lines(self) -> list[str]:
        lines = []
        for difference in self.differences:
            worse = difference.value > 0 if difference.name in _LESS_IS_BETTER else difference.value < 0
            told = (
                "lost"
                if worse and difference.is_real
                else "gained"
                if difference.is_real
                else "no difference shown"
            )
            lines.append(
                f"{difference.name}: {difference.first:.4f} before, {difference.second:.4f} after, "
                f"{difference.value:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]: {told}"
            )
        one, other = self.sizes
        lines.append(f"speed in the engine: {self.gain}")
        lines.append(f"files of the weights: {show_bytes(one.disk)}, {show_bytes(other.disk)}")
        lines.append(f"weights in memory: {show_bytes(one.memory)}, {show_bytes(other.memory)}")
        return lines + [f"note: {note}" for note in self.notes]

    def __str__(self) -> str:
        asked = ", ".join(f"{name} {value}" for name, value in self.parameters.items() if value is not None)
        return "\n".join(
            [
                f"{self.out}: {self.base} by {self.method} ({asked}); {self.seconds:.1f} s",
                f"before: f32; after: {self.after.rows} rows of {self.after.data}, the same of both",
                *(f"  {line}" for line in self._lines()),
                f"serve it by: headrace serve {self.out}",
            ]
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from ..plots import losses_svg
        from ..report import pre

        return pre(str(self)) + ("" if self.history is None else losses_svg(self.history))

    def write_card(self, card: str | None) -> None:
        """README.md: the base's card, or else a short one, with a section on the compression."""
        text = card or f"# {self.out.name}\n\nA model for {self.task}, made of {self.base}.\n"
        text = text.partition(_TITLE)[0].rstrip()
        lines = [f"- method: {self.method}"]
        lines += [f"- {name}: {value}" for name, value in self.parameters.items() if value is not None]
        lines += [f"- {line}" for line in self._lines()]
        lines.append(f"- measured on {self.after.rows} rows of {self.after.data}, by the engine that serves")
        lines.append(f"- all of it: `{lineage.COMPRESSION}`")
        (self.out / "README.md").write_text(
            "\n".join([text, "", _TITLE, "", *lines]) + "\n", encoding="utf-8"
        )


_TITLE = "## Compression"
