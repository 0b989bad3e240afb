"""Where things are in the console."""

from __future__ import annotations

from browser import Page

ROWS = "[...document.querySelectorAll('#model-table tbody tr')]"


def row(model: str) -> str:
    return f'#model-table tr[data-model="{model}"]'


def panel(model: str) -> str:
    return f'[data-panel="{model}"]'


def run_panel(page: Page, model: str) -> None:
    """Chooses the model's panel, sends what stands in it and waits for the answer."""
    page.choose("#try-model", model)
    page.click(f"{panel(model)} button[type=submit]")
    page.wait(f"!document.querySelector('{panel(model)} .result .empty')")
