"""An explanation in a terminal and in a notebook: words on colours, bars, heat maps. Blue speaks for, red against."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

from .explanation import Explanation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FOR, AGAINST = (33, 102, 172), (178, 24, 43)
_SHOWN = 20
_STYLE = "font:15px/1.9 system-ui,sans-serif;max-width:60em"


def shares(explanation: Explanation) -> NDArray[np.float64]:
    """The attributions as shares of the largest, -1 to 1."""
    most = float(abs(explanation.attributions).max(initial=0.0))
    return explanation.attributions / (most or 1.0)


def _mixed(share: float) -> tuple[int, int, int]:
    """White at 0, the full colour at 1 or -1, of which letters on it stay readable."""
    colour = FOR if share > 0 else AGAINST
    weight = 0.75 * min(1.0, abs(share))
    red, green, blue = (round(255 + (part - 255) * weight) for part in colour)
    return red, green, blue


def _ink(colour: tuple[int, int, int]) -> str:
    red, green, blue = colour
    return "#000" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#fff"


def _named(explanation: Explanation, place: int) -> str:
    name = explanation.names[place]
    value = explanation.values[place] if len(explanation.values) else None
    if value is None:
        return name
    return f"{name} = {value:.6g}" if isinstance(value, float) else f"{name} = {value}"


def bars(explanation: Explanation) -> str:
    """The pieces that did most, as a table with bars."""
    order = abs(explanation.attributions).argsort(kind="stable")[::-1][:_SHOWN]
    names = [_printable(_named(explanation, i))[:40] for i in order]
    width = max(map(len, names))
    lines = [_printable(explanation.headline)]
    part = shares(explanation)
    for i, name in zip(order, names, strict=True):
        length = round(20 * abs(part[i]))
        left, right = ("", "█" * length) if part[i] >= 0 else ("█" * length, "")
        error = "" if explanation.errors is None else f" ±{explanation.errors[i]:.4f}"
        lines.append(
            f"  {name:<{width}} {explanation.attributions[i]:+8.4f}{error} {left:>20}|{right}".rstrip()
        )
    if len(explanation.names) > len(order):
        rest = explanation.attributions.sum() - explanation.attributions[order].sum()
        lines.append(f"  {len(explanation.names) - len(order)} more: {rest:+.4f} together")
    return "\n".join(lines)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else f"<{ord(c):04X}>" for c in text)


def terminal(explanation: Explanation) -> str:
    """A text with its words on colours of 24 bits; anything else as bars."""
    if explanation.text is None:
        return bars(explanation)
    parts = [_printable(explanation.headline), "\n"]
    for piece, share in _marked(explanation):
        shown = "".join(c if c.isprintable() or c in "\n\t" else f"<{ord(c):04X}>" for c in piece)
        if share is None:
            parts.append(shown)
            continue
        colour = _mixed(share)
        ink = "0;0;0" if _ink(colour) == "#000" else "255;255;255"
        parts.append(f"\x1b[48;2;{';'.join(map(str, colour))};38;2;{ink}m{shown}\x1b[0m")
    return "".join(parts)


def _marked(explanation: Explanation) -> Iterator[tuple[str, float | None]]:
    """The text in parts, with the share of each that is a piece."""
    text, done = explanation.text or "", 0
    for (start, end), share in zip(explanation.spans, shares(explanation).tolist(), strict=True):
        if start > done:
            yield text[done:start], None
        yield text[start:end], share
        done = end
    if done < len(text):
        yield text[done:], None


def html(explanation: Explanation) -> str:
    """What a notebook shows; plots need matplotlib."""
    from ..lifecycle import plots

    head = f"<div style='font:13px system-ui,sans-serif;color:#555'>{escape(explanation.headline)}</div>"
    if explanation.text is not None:
        return f"<div style='{_STYLE}'>{head}{_words(explanation)}{_legend()}</div>"
    if not plots.has_matplotlib():
        return f"<pre>{escape(bars(explanation))}</pre>"
    from .charts import bar_chart, heat_map

    made = bar_chart(explanation) if explanation.picture is None else heat_map(explanation)
    return f"<div>{head}{plots.svg(made)}</div>"


def _words(explanation: Explanation) -> str:
    parts = []
    for (text, share), place in _numbered(explanation):
        if share is None:
            parts.append(escape(text))
            continue
        colour = _mixed(share)
        attribution = explanation.attributions[place]
        parts.append(
            f"<span title='{attribution:+.4f}' style='background:rgb{colour};color:{_ink(colour)};border-radius:3px;"
            f"padding:2px 1px'>{escape(text)}</span>"
        )
    return f"<div style='white-space:pre-wrap'>{''.join(parts)}</div>"


def _numbered(explanation: Explanation) -> Iterator[tuple[tuple[str, float | None], int]]:
    place = -1
    for part in _marked(explanation):
        place += part[1] is not None
        yield part, place


def _legend() -> str:
    boxes = [
        f"<span style='background:rgb{_mixed(share)};color:{_ink(_mixed(share))};border-radius:3px;padding:0 6px'>"
        f"{told}</span>"
        for share, told in ((1.0, "for"), (-1.0, "against"))
    ]
    return f"<div style='font:12px system-ui,sans-serif;margin-top:4px'>{' '.join(boxes)}</div>"


def page(explanations: Sequence[Explanation], title: str = "Explanation") -> str:
    """A page that asks nothing of the network."""
    from ..lifecycle.report import document

    return document(title, "".join(f"<section>{html(each)}</section><hr>" for each in explanations))
