"""Charts of `headrace bench`: matplotlib where it is there, and the rooflines of the kernels."""

from __future__ import annotations

import math
from typing import Any

_COLOURS = {"f32": "#3465a4", "bf16": "#c4780a", "int8": "#3c8527"}
_PLAIN = "#555555"  # of kernels that work on f32 whatever the model's precision
_MARKERS = {
    "gemm": "o",
    "attention": "s",
    "layer_norm": "^",
    "softmax": "v",
    "gelu": "D",
    "encode": "P",
    "mean_pool": "X",
}
_NEAR = 1.25  # ceilings nearer than this factor share a label


def pyplot() -> Any:
    """matplotlib.pyplot, drawing to files; ImportError that says what to install."""
    try:
        import matplotlib
    except ImportError:
        raise ImportError("--plot needs matplotlib: pip install 'headrace[plot]'") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot as found

    return found


def plot(result: dict[str, Any], path: str) -> None:
    """Writes the chart to a file."""
    chart(result).savefig(path, dpi=130)


def chart(result: dict[str, Any]) -> Any:
    """A matplotlib Figure, which a notebook shows: a panel for each table and number of threads, tables below each
    other, threads side by side.

    Args:
        result: `cpu`, `cpus` and `tables`, those of kernel_bench.measure().
    """
    from matplotlib.figure import Figure

    tables = result["tables"]
    isas = list(dict.fromkeys(table["isa"] for table in tables))
    threads = list(dict.fromkeys(table["threads"] for table in tables))
    figure = Figure(figsize=(6.4 * len(threads), 4.4 * len(isas) + 1.1), layout="constrained")
    panels = figure.subplots(len(isas), len(threads), sharex=True, sharey=True, squeeze=False)
    for table in tables:
        axes = panels[isas.index(table["isa"])][threads.index(table["threads"])]
        _panel(axes, table)
        several = "s" if table["threads"] > 1 else ""
        axes.set_title(f"{table['isa']}, {table['threads']} thread{several}", fontsize=11)
    _limits(panels[0][0], tables)
    for axes in panels[-1]:
        axes.set_xlabel("operations for each byte read or written")
    for row in panels:
        row[0].set_ylabel("GFLOP/s (int8: GOP/s)")
    figure.suptitle(f"{result['cpu']}, {result['cpus']} processors", fontsize=12)
    figure.legend(handles=_legend(tables), loc="outside lower center", ncols=6, fontsize=9, frameon=False)
    return figure


def _panel(axes: Any, table: dict[str, Any]) -> None:
    read, near, peaks = table["read_gbs"], table["near_gbs"], table["peak_gflops"]
    axes.set(xscale="log", yscale="log")
    axes.grid(which="major", alpha=0.3)
    top = max(peaks.values())
    for speed, style, name in ((read, "-", "memory"), (near, "--", "1 MiB a thread")):
        line = f"{name}: {speed:,.0f} GB/s"
        axes.plot(
            [1e-3, top / speed],
            [1e-3 * speed, top],
            style,
            color="black",
            linewidth=1.1,
            zorder=1,
            label=line,
        )
    for names, value in _ceilings(peaks):
        colour = _COLOURS[names[0]] if len(names) == 1 else "black"
        axes.plot([value / near, 1e5], [value, value], color=colour, linewidth=1.2, zorder=1)
        axes.annotate(
            f"{', '.join(names)}: {value:,.0f}",
            (1, value),
            xycoords=("axes fraction", "data"),
            xytext=(-4, 3),
            textcoords="offset points",
            ha="right",
            fontsize=8.5,
            color=colour,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8},
            zorder=3,
        )
    for row in table["kernels"]:
        axes.plot(
            row["gflops"] / row["gbs"],
            row["gflops"],
            _MARKERS[row["kernel"]],
            color=_colour(row),
            markersize=5.5,
            alpha=0.75,
            markeredgewidth=0,
            zorder=2,
        )
    axes.legend(loc="upper left", fontsize=8.5, frameon=False, handlelength=2.5)


def _colour(row: dict[str, Any]) -> str:
    return _COLOURS[row["precision"]] if row["kernel"] in ("gemm", "encode") else _PLAIN


def _ceilings(peaks: dict[str, float]) -> list[tuple[list[str], float]]:
    """The compute ceilings, those that a reader could not tell apart as one: their names, and the highest of them."""
    found: list[tuple[list[str], float]] = []
    for name, value in sorted(peaks.items(), key=lambda item: -item[1]):
        if found and found[-1][1] / value < _NEAR:
            found[-1][0].append(name)
        else:
            found.append(([name], value))
    return found


def _limits(axes: Any, tables: list[dict[str, Any]]) -> None:
    """The same for all panels: whatever was measured, with some room."""
    rows = [row for table in tables for row in table["kernels"]]
    intensities = [row["gflops"] / row["gbs"] for row in rows]
    speeds = [row["gflops"] for row in rows]
    peaks = [peak for table in tables for peak in table["peak_gflops"].values()]
    axes.set_xlim(min(intensities) / 2, max(intensities) * 3)
    axes.set_ylim(10 ** math.floor(math.log10(min(speeds))), max(peaks) * 2)


def _legend(tables: list[dict[str, Any]]) -> list[Any]:
    from matplotlib.lines import Line2D

    def entry(label: str, colour: str, marker: str) -> Any:
        return Line2D([], [], color=colour, marker=marker, linestyle="", label=label)

    kernels = dict.fromkeys(row["kernel"] for table in tables for row in table["kernels"])
    handles = []
    for kernel in kernels:
        if kernel in ("gemm", "encode"):
            own = ("f32", "bf16", "int8") if kernel == "gemm" else ("bf16", "int8")
            handles += [entry(f"{kernel} {each}", _COLOURS[each], _MARKERS[kernel]) for each in own]
        else:
            handles.append(entry(kernel, _PLAIN, _MARKERS[kernel]))
    return handles
