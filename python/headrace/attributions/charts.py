"""Charts of explanations, by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..lifecycle import plots
from .explanation import Explanation
from .show import AGAINST, FOR, _named

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SHOWN = 15


def _colour(value: float) -> tuple[float, ...]:
    return tuple(part / 255 for part in (FOR if value >= 0 else AGAINST))


def bars_of(
    names: Sequence[str], values: Sequence[float], label: str, errors: Sequence[float] | None = None
) -> Any:
    """Horizontal bars, the first above, each with its number."""
    made, axes = plots.figure(6.4, 0.9 + 0.3 * len(names))
    places = range(len(names))
    axes.barh(places, values, color=[_colour(value) for value in values], xerr=errors, height=0.72,
              error_kw={"elinewidth": 0.8, "ecolor": "0.35"})  # fmt: skip
    axes.axvline(0, color="0.4", linewidth=0.8)
    axes.set_yticks(places, [name if len(name) <= 44 else name[:43] + "…" for name in names], fontsize=9)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(label, fontsize=9)
    reach = max((abs(value) for value in values), default=0.0) or 1.0
    for place, value in zip(places, values, strict=True):
        spread = 0.0 if errors is None else errors[place]
        side = 1 if value >= 0 else -1
        axes.text(value + side * (spread + 0.015 * reach), place, f"{value:+.3g}", va="center",
                  ha="left" if side > 0 else "right", fontsize=8, color="0.25")  # fmt: skip
    axes.margins(x=0.18)
    return made


def bar_chart(explanation: Explanation) -> Any:
    """The features that did most."""
    order = abs(explanation.attributions).argsort(kind="stable")[::-1][:_SHOWN]
    errors = None if explanation.errors is None else explanation.errors[order].tolist()
    return bars_of(
        [_named(explanation, i) for i in order],
        explanation.attributions[order].tolist(),
        f"change of {explanation.target}",
        errors,
    )


def heat_map(explanation: Explanation) -> Any:
    """The picture, and beside it the attributions over its grey shadow."""
    import numpy as np
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    picture, heat = explanation.picture, pixel_attributions(explanation)
    assert picture is not None
    height, width = picture.shape[:2]
    made = Figure(figsize=(7.2, 0.4 + 3.2 * height / width), layout="constrained")
    left, right = made.subplots(1, 2)
    left.imshow(picture)
    grey = picture.astype(np.float32).mean(axis=2)
    right.imshow(grey, cmap="gray", vmin=0, vmax=255, alpha=0.3)
    colours = LinearSegmentedColormap.from_list("against-for", [_colour(-1), (1.0, 1.0, 1.0), _colour(1)])
    reach = float(np.quantile(abs(heat), 0.995)) or float(abs(heat).max()) or 1.0
    strength = np.clip(abs(heat) / reach, 0, 1) ** 0.7 * 0.85
    shown = right.imshow(heat, cmap=colours, vmin=-reach, vmax=reach, alpha=strength, interpolation="nearest")
    bar = made.colorbar(shown, ax=right, fraction=0.046, pad=0.03, alpha=1.0)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    for axes in (left, right):
        axes.set_axis_off()
    left.set_title("picture", fontsize=9)
    right.set_title(f"for and against {explanation.target}"[:60], fontsize=9)
    return made


def pixel_attributions(explanation: Explanation) -> NDArray[Any]:
    """float64 [height, width]: a patch's attribution is shared by its pixels."""
    import numpy as np

    assert explanation.groups is not None
    counts = np.bincount(explanation.groups.ravel(), minlength=len(explanation.attributions))
    return np.asarray((explanation.attributions / np.maximum(counts, 1))[explanation.groups])
