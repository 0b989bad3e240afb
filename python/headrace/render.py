"""How headrace's objects show themselves: one line in a terminal, a small table in a notebook, a bar for long work."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .loaded_model import ModelInfo


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f}M" if count < 1e9 else f"{count / 1e9:.1f}B"


def model_text(info: ModelInfo) -> str:
    return (
        f"Model({info.name!r}, task={info.task!r}, {info.architecture}, {_millions(info.parameters)} parameters, "
        f"dimensions={info.dimensions}, max_tokens={info.max_tokens}, {info.precision} on {info.isa})"
    )


def _table(rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> str:
    cell = "padding:2px 12px 2px 0;text-align:left"
    head = "".join(f"<th style='{cell}'>{escape(text)}</th>" for text in header)
    body = "".join(
        "<tr>" + "".join(f"<td style='{cell}'>{escape(text)}</td>" for text in row) + "</tr>" for row in rows
    )
    return f"<table>{f'<thead><tr>{head}</tr></thead>' if head else ''}<tbody>{body}</tbody></table>"


def model_html(info: ModelInfo) -> str:
    rows = [
        ("task", info.task),
        ("architecture", f"{info.architecture}, {_millions(info.parameters)} parameters"),
        ("dimensions", str(info.dimensions)),
        ("longest input", f"{info.max_tokens} tokens"),
        ("runs as", f"{info.precision} on {info.isa}, {info.weight_bytes / 1e6:.0f} MB of weights"),
        *([("prompts", ", ".join(info.prompts))] if any(info.prompts.values()) else []),
        ("path", info.path),
    ]
    return f"<b>headrace model {escape(info.name)}</b>{_table(rows)}"


def engine_html(threads: int, models: Sequence[ModelInfo]) -> str:
    rows = [
        (m.name, m.task, str(m.dimensions), str(m.max_tokens), f"{m.precision} on {m.isa}") for m in models
    ]
    header = ("model", "task", "dimensions", "longest input", "runs as")
    return f"<b>headrace engine</b>, {threads} threads, {len(models)} models{_table(rows, header)}"


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


@contextmanager
def progress_bar(total: int, show: bool | None, show_from: int) -> Iterator[Callable[[int], object]]:
    """Yields a function that advances the bar. None: show for long work where someone can see it."""
    if show is None:
        show = total >= show_from and (_in_notebook() or sys.stderr.isatty())
        quiet_if_missing = True
    else:
        quiet_if_missing = False
    if not show:
        yield lambda _count: None
        return
    try:
        from tqdm.auto import tqdm
    except ImportError:
        if not quiet_if_missing:
            raise ImportError("show_progress=True needs tqdm; run: pip install tqdm") from None
        yield lambda _count: None
        return
    with tqdm(total=total, unit="text", smoothing=0.1) as bar:
        yield bar.update
