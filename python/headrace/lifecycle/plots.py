"""Plots as SVG or PNG by matplotlib, where it is installed; the bar or the live curve of a training."""

from __future__ import annotations

import importlib.util
import io
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .loop import History


def has_matplotlib() -> bool:
    """Whether plots can be drawn."""
    return importlib.util.find_spec("matplotlib") is not None


def figure(width: float = 5.0, height: float = 3.4) -> Any:
    """A figure and its axes, apart from any state of pyplot."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    axes = made.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return made, axes


def svg(made: Any) -> str:
    """The figure as an <svg> element."""
    from matplotlib import rc_context

    out = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "headrace"}):
        made.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def _losses(history: History) -> Any:
    import numpy as np

    made, axes = figure()
    losses = np.asarray(history.losses)
    axes.plot(np.arange(1, len(losses) + 1), losses, color="0.8", linewidth=0.8)
    width = max(1, len(losses) // 50)
    if width > 1:
        smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
        axes.plot(np.arange(width, len(losses) + 1), smooth, color="C0", label="training")
    held_out = [record.validation.get("loss") for record in history.epochs]
    if held_out and None not in held_out:
        steps = len(losses) / len(held_out)
        axes.plot(
            [steps * (i + 1) for i in range(len(held_out))], held_out, "o-", color="C1", label="validation"
        )
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
    return made


def write_losses(history: History, path: Path) -> None:
    """The loss curve as a picture; nothing where matplotlib is missing."""
    if has_matplotlib() and history.losses:
        _losses(history).savefig(path, dpi=120)


def losses_svg(history: History) -> str:
    """The loss curve for a page; "" where matplotlib is missing."""
    return svg(_losses(history)) if has_matplotlib() and history.losses else ""


def in_notebook() -> bool:
    """Whether this runs in a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


class Progress:
    """A bar on a terminal, a curve that grows in a notebook; `step` is what `fit` calls."""

    def __init__(self, text: str, wanted: bool | None) -> None:
        self._text = text
        self._is_notebook = in_notebook() and has_matplotlib() and wanted is not False
        self._has_bar = not self._is_notebook and (sys.stderr.isatty() if wanted is None else wanted)
        self._bar: Any = None
        self._shown: Any = None
        self._last = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def step(self, step: int, steps: int, history: History) -> None:
        """Shows where the training is; the curve at most each two seconds, and at the end."""
        if self._has_bar:
            if self._bar is None:
                from tqdm import tqdm

                self._bar = tqdm(
                    total=steps, initial=step - 1, desc=self._text, unit="step", dynamic_ncols=True
                )
            self._bar.set_postfix(loss=f"{history.losses[-1]:.4f}", refresh=False)
            self._bar.update(step - self._bar.n)
        elif self._is_notebook and (step == steps or time.monotonic() - self._last > 2):
            self._last = time.monotonic()
            self._draw(history)

    def _draw(self, history: History) -> None:
        from IPython.display import SVG, display

        picture = SVG(svg(_losses(history)))  # type: ignore[no-untyped-call]
        if self._shown is None:
            self._shown = display(picture, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._shown.update(picture)
