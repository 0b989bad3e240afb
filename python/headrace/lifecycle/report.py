"""An evaluation as a page: tables and plots in one file, which asks nothing of the network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from . import plots

if TYPE_CHECKING:
    from .evaluation import Evaluation

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 62em; padding: 0 1em; color: #222 }
h1 { font-size: 1.4em } h2 { font-size: 1.1em; margin-top: 2em }
table { border-collapse: collapse } td, th { padding: 3px 12px 3px 0; text-align: left; vertical-align: top }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums } tr { border-bottom: 1px solid #eee }
.plots { display: flex; flex-wrap: wrap; gap: 1em } .plots svg { max-width: 100%; height: auto }
"""


def pre(text: str) -> str:
    """Text as it stands."""
    return f"<pre>{escape(text)}</pre>"


def page(result: Evaluation) -> str:
    """The whole page."""
    return document(f"{result.model}: {result.task} on {result.data}", body(result))


def document(title: str, content: str) -> str:
    """HTML under a title, as a page of our style."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>{content}</body></html>\n"
    )


def body(result: Evaluation) -> str:
    """The page without its frame: what a notebook shows."""
    parts = [f"<p>{result.rows} rows.</p>"]
    parts += [f"<p><i>{escape(note)}</i></p>" for note in result.notes]
    parts.append(_table(["figure", "value", "95 % interval"], _figures(result)))
    if result.speed is not None:
        s = result.speed
        parts.append(
            f"<p>{s.rows_per_second:.0f} rows/s in batches; one call {s.p50_ms:.2f} ms, p95 {s.p95_ms:.2f} ms.</p>"
        )
    if plots.has_matplotlib():
        drawn = [plots.svg(made) for made in _plots(result)]
        parts.append(f"<div class='plots'>{''.join(drawn)}</div>")
    if result.per_class:
        rows = [(name, *(_number(row[f]) for f in ("precision", "recall", "f1")), f"{row['support']:.0f}")
                for name, row in result.per_class.items()]  # fmt: skip
        parts.append("<h2>Classes</h2>" + _table(["class", "precision", "recall", "F1", "rows"], rows))
    if result.slices:
        names = [name for name in next(iter(result.slices.values())) if name != "rows"]
        rows = [(value, f"{row['rows']:.0f}", *(_number(row[name]) for name in names))
                for value, row in result.slices.items()]  # fmt: skip
        parts.append("<h2>Slices</h2>" + _table(["slice", "rows", *names], rows))
        gaps = [(name, _number(value)) for name, value in result.gaps.items()]
        parts.append(_table(["gap between slices", ""], gaps))
    if result.comparison:
        lines = [str(difference) for difference in result.comparison.get("differences", [])]
        if "mcnemar_p" in result.comparison:
            lines.append(f"McNemar's test: p = {result.comparison['mcnemar_p']:.4f}")
        items = "".join(f"<li>{escape(line)}</li>" for line in lines)
        other = escape(str(result.comparison.get("other")))
        parts.append(f"<h2>Compared with {other} (second)</h2><ul>{items}</ul>")
    if result.mistakes:
        rows = [(str(m["row"]), _number(m["score"]), str(m["label"]), str(m["found"]), _short(m["text"]))
                for m in result.mistakes]  # fmt: skip
        parts.append("<h2>Worst mistakes</h2>" + _table(["row", "score", "label", "found", "text"], rows))
    return "".join(parts)


def _figures(result: Evaluation) -> Iterable[tuple[str, str, str]]:
    for name, value in result.metrics.items():
        interval = result.intervals.get(name)
        yield name, _number(value), "" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"
    if result.calibration:
        yield "calibration error (ECE)", _number(result.calibration["ece"]), ""


def _number(value: float) -> str:
    return f"{value:.4f}"


def _short(text: str) -> str:
    return text if len(text) <= 300 else text[:300] + " ..."


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def cell(kind: str, text: str) -> str:
        is_number = text.replace(".", "").replace("-", "").isdigit()
        return f"<{kind}{' class=n' if is_number else ''}>{escape(text)}</{kind}>"

    head = "".join(cell("th", text) for text in header)
    lines = "".join("<tr>" + "".join(cell("td", text) for text in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def _plots(result: Evaluation) -> Iterable[Any]:
    if result.confusion and len(result.labels) <= 30:
        yield _confusion(result)
    if result.curves:
        yield _curves(result, "roc", "false positive rate", "true positive rate", swap=False)
        yield _curves(result, "precision_recall", "recall", "precision", swap=True)
    if result.calibration.get("curve"):
        yield _reliability(result)


def _confusion(result: Evaluation) -> Any:
    import numpy as np

    matrix = np.asarray(result.confusion)
    shares = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    size = max(3.6, 0.45 * len(matrix) + 1.6)
    made, axes = plots.figure(size, size)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, row in enumerate(matrix):
        for j, count in enumerate(row):
            if count:
                colour = "white" if shares[i, j] > 0.5 else "black"
                axes.text(j, i, str(count), ha="center", va="center", color=colour, fontsize=8)
    ticks = range(len(matrix))
    axes.set_xticks(ticks, result.labels, rotation=45, ha="right")
    axes.set_yticks(ticks, result.labels)
    axes.set_xlabel("found")
    axes.set_ylabel("label")
    return made


def _curves(result: Evaluation, kind: str, x: str, y: str, *, swap: bool) -> Any:
    made, axes = plots.figure()
    for name, curves in result.curves.items():
        first, second = curves[kind]
        axes.plot(*((second, first) if swap else (first, second)), label=name)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False, fontsize=8)
    return made


def _reliability(result: Evaluation) -> Any:
    made, axes = plots.figure()
    curve = result.calibration["curve"]
    axes.plot([0, 1], [0, 1], color="0.8")
    axes.plot([point["confidence"] for point in curve], [point["accuracy"] for point in curve], "o-")
    axes.set_xlabel("probability of the answer")
    axes.set_ylabel("share of right answers")
    axes.set_title(f"calibration error {result.calibration['ece']:.3f}", fontsize=10)
    return made
