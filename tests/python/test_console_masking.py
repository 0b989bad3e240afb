"""The console's masking in a real browser: what is marked, each way of masking, both languages, a narrow window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from browser import Browser, Page
from conftest import Server
from guarded import Guarded

from headrace.security.masking import KINDS, Masker

PANEL = '[data-panel="masking"]'
TEXT = "\U0001f30a maria@example.com，手机 138 0013 8000，maria@example.com"


@pytest.fixture
def page(server: Server, browser: Browser) -> Iterator[Page]:
    page = browser.open(server.url)
    page.run("localStorage.clear()")
    page.go(server.url)
    page.wait("document.querySelector('#state').className === 'pill ready'")
    yield page
    assert not page.problems
    page.close()


def run(page: Page, mode: str, text: str | None = None) -> str:
    """The masked text."""
    if text is not None:
        page.fill(f"{PANEL} textarea", text)
    page.choose(f"{PANEL} select", mode)
    page.run(f"document.querySelector('{PANEL} .result').replaceChildren()")
    page.click(f"{PANEL} button[type=submit]")
    page.wait(f"document.querySelector('{PANEL} .masked')?.innerText.length > 0")
    return page.text(f"{PANEL} .masked")


def test_what_is_found_is_marked(page: Page) -> None:
    assert run(page, "mask", TEXT) == Masker().mask(TEXT).text
    marks = page.run(
        f"[...document.querySelectorAll('{PANEL} mark')].map((mark) => [mark.firstChild.data, mark.className,"
        "mark.querySelector('small').innerText])"
    )
    assert marks == [
        ["maria@example.com", "hue-0", "e-mail"],
        ["138 0013 8000", "hue-1", "Chinese mobile"],
        ["maria@example.com", "hue-0", "e-mail"],
    ]
    page.click("#language")
    assert page.text(f"{PANEL} mark small") == "电子邮箱"
    assert page.text("#masking h2").startswith("脱敏")
    page.click("#language")


def test_each_mode(page: Page) -> None:
    assert run(page, "drop", TEXT) == Masker(mode="drop").mask(TEXT).text
    assert run(page, "hash").count("[EMAIL:") == 2
    masked = Masker(mode="reversible").mask(TEXT)
    assert run(page, "reversible") == masked.text
    rows = page.run(
        f"[...document.querySelectorAll('{PANEL} .mapping tr')].map((row) => row.innerText.split('\\t'))"
    )
    assert dict(rows) == masked.mapping
    assert '"mode":"reversible"' in page.run(f"document.querySelector('{PANEL} pre code').textContent")


def test_nothing_to_mask_and_errors(page: Page) -> None:
    run(page, "mask", "the water turns the wheel")
    assert page.text(f"{PANEL} .result .empty") == "Nothing was found."
    page.fill(f"{PANEL} textarea", " ")
    page.run(f"document.querySelector('{PANEL} textarea').value = ''")
    page.click(f"{PANEL} button[type=submit]")
    page.wait(f"document.querySelector('{PANEL} .notice.bad')?.innerText.includes('400')")
    page.problems = [problem for problem in page.problems if "400 (Bad Request)" not in problem]


def test_on_a_phone_nothing_is_cut(page: Page) -> None:
    page.resize(360, 740)
    for _ in range(2):
        run(page, "reversible")
        assert page.run("document.documentElement.scrollWidth") <= 360
        page.click("#language")


def test_every_kind_has_a_name(page: Page) -> None:
    keys = "Object.keys(words.zh).filter((key) => key.startsWith('kind_'))"
    named = page.run(f"import('./console/strings.js').then(({{words}}) => {keys})")
    assert {f"kind_{kind}" for kind in KINDS} == set(named)
    groups = httpx2.get(f"{page.requests[0]}console/masking.js").text
    assert [kind for kind in KINDS if f'"{kind}"' not in groups] == []


def test_only_for_who_may(tmp_path: Path) -> None:
    with Guarded(tmp_path) as guarded:
        for key, is_hidden in (("all", False), ("metrics", True)):
            with Browser() as own:  # a browser keeps the key it was given
                page = own.open(guarded.server.url, guarded.keys[key])
                page.wait("document.querySelector('#state').className === 'pill ready'")
                assert page.run("document.querySelector('#masking').hidden") == is_hidden
        assert guarded.server.stop() == 0
