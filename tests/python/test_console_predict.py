"""The console's panel for functions and models of tensors."""

from __future__ import annotations

from pathlib import Path

from browser import Browser
from conftest import Server
from console_page import ROWS, panel, row, run_panel

FILE = Path(__file__).with_name("served_functions.py")


def test_an_item_goes_and_its_answer_comes() -> None:
    with Server(f"{FILE}:double", f"dense={FILE}:Dense") as server, Browser() as browser:
        page = browser.open(server.url)
        page.wait(f"{ROWS}.length === 2")
        run_panel(page, "double")
        assert page.text(f"{panel('double')} .result pre") == '"millmill"'
        page.fill(f"{panel('double')} textarea", "[1, [2]]")
        page.click(f"{panel('double')} button[type=submit]")
        page.wait(f"document.querySelector('{panel('double')} .result pre').innerText.startsWith('[')")
        page.fill(f"{panel('double')} textarea", "{")
        page.click(f"{panel('double')} button[type=submit]")
        page.wait(f"document.querySelector('{panel('double')} .notice.bad').innerText.includes('JSON')")
        page.choose("#try-model", "dense")  # its example is made of its tensors
        page.wait(f"document.querySelector('{panel('dense')} textarea').value.includes('[0,0,0,0]')")
        run_panel(page, "dense")
        assert '"name": "n0"' in page.text(f"{panel('dense')} .result pre")
        # What there is no number of is a dash.
        assert page.run(f"document.querySelectorAll('{row('dense')} td')[5].innerText") == "–"
        assert not page.problems
        page.close()
        assert server.stop() == 0
