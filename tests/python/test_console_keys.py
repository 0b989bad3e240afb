"""The console of a server with keys: signing in, and who may see and change what."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from browser import Browser
from console_page import ROWS, panel, row, run_panel
from guarded import Guarded

import headrace.toy


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("versions")
    for version in ("1", "2"):
        headrace.toy.model("tag", folder / "toy" / version)
    with Guarded(tmp_path_factory.mktemp("state"), "demo:minilm", str(folder)) as found:
        found.keys |= {"admin": found.key("admin"), "user": found.key("infer")}
        time.sleep(2.5)  # until the server knows these
        yield found
        assert found.server.stop() == 0


def test_signing_in(guarded: Guarded) -> None:
    for key in (None, "hr_wrong"):
        with Browser() as browser:
            page = browser.open(guarded.server.url, key)
            page.wait("document.body.innerText.includes(' key')")
            assert not page.run("!!document.querySelector('main')")
    with Browser() as browser:
        page = browser.open(guarded.server.url, guarded.keys["all"])
        page.wait(f"{ROWS}.length === 2")
        assert page.text("#who") == "key infer-manage-metrics"
        assert page.run("document.querySelector('#keys').hidden")  # not an admin
        page.choose("#try-model", "minilm")
        run_panel(page, "minilm")
        page.run(f"document.querySelector('{panel('minilm')} details').open = true")
        page.wait(f"document.querySelector('{panel('minilm')} pre').innerText.includes('Bearer $KEY')")
        assert guarded.keys["all"] not in page.run("document.documentElement.outerHTML")


def test_a_key_without_figures(guarded: Guarded) -> None:
    with Browser() as browser:
        page = browser.open(guarded.server.url, guarded.keys["user"])
        page.wait(f"{ROWS}.length === 2")
        assert "scope metrics" in page.text("#no-metrics")
        assert page.run("document.querySelectorAll('#model-table button:not([hidden])').length") == 0
        run_panel(page, "minilm")
        assert page.run("document.querySelectorAll('.heat tbody td').length") == 25


def test_loading_and_unloading(guarded: Guarded) -> None:
    with Browser() as browser:
        page = browser.open(guarded.server.url, guarded.keys["all"])
        toy = row("toy")
        page.wait(f"{ROWS}.length === 2 && !document.querySelector('{toy} select').hidden")
        assert page.text(f"{toy} td:nth-child(4)") == "2"
        page.choose(f"{toy} select", "1")
        page.click(f"{toy} [data-do=load]")
        page.wait(f"document.querySelector('{toy} td:nth-child(4)').innerText === '1'")
        page.wait("document.querySelector('#model-message').innerText === 'toy is served.'")
        page.click(f"{toy} [data-do=unload]")
        page.click("dialog button.quiet")  # not after all
        page.watch(0.5)
        assert page.text(f"{toy} .pill") == "ready"
        page.click(f"{toy} [data-do=unload]")
        page.click("dialog button.danger")
        page.wait(f"document.querySelector('{toy} .pill').innerText === 'not loaded'")
        assert page.run("[...document.querySelector('#try-model').options].map((o) => o.value)") == ["minilm"]
        page.click(f"{toy} [data-do=load]")
        page.wait(f"document.querySelector('{toy} .pill').innerText === 'ready'")
        assert not page.problems


def test_keys_are_made_shown_once_and_revoked(guarded: Guarded) -> None:
    with Browser() as browser:
        page = browser.open(guarded.server.url, guarded.keys["admin"])
        page.wait("document.querySelectorAll('#key-table tbody tr').length >= 6")
        assert page.run("document.querySelectorAll('#key-table .pill:not(.active)').length") == 1  # yours
        page.click("details.new-key summary")
        page.fill("#new-key [name=name]", "night batch")
        page.fill("#new-key [name=tenant]", "acme")
        page.fill("#new-key [name=more]", "manage:toy, metrics")
        page.fill("#new-key [name=requests_per_minute]", "600")
        page.choose("#new-key [name=lifetime]", "30")
        page.click("#new-key button[type=submit]")
        page.wait("!!document.querySelector('#key-text')")
        key = page.text("#key-text")
        [made] = [found for found in guarded.catalogue.all_keys() if found.name == "night batch"]
        assert made.scopes == ("infer", "manage:toy", "metrics")
        assert (made.tenant, made.limits.requests_per_minute) == ("acme", 600)
        assert made.expires == pytest.approx(made.created + 30 * 86_400)
        with guarded.client(key) as http:
            assert http.get("/v1/models").status_code == 200
            mine = f'#key-table tr[data-key="{made.id}"]'
            page.wait(f"!!document.querySelector('{mine}')")
            assert "600 requests/min" in page.text(mine)
            page.click("#key-room .notice .row button")
            assert key not in page.run("document.documentElement.outerHTML")
            page.click(f"{mine} button")
            page.click("dialog button.danger")
            page.wait(f"document.querySelector('{mine} .pill').innerText === 'revoked'")
            assert http.get("/v1/models").status_code == 401
        assert not page.problems
        page.run("document.querySelector('details.new-key').open = true")
        page.fill("#new-key [name=name]", "?")
        page.click("#new-key button[type=submit]")
        page.wait("document.querySelector('#new-key .notice.bad')?.innerText.includes('64 letters')")


def test_a_key_that_ends_while_the_page_is_open(guarded: Guarded) -> None:
    text = guarded.key("infer", "metrics", tenant="short")
    time.sleep(2.5)
    [key] = [found for found in guarded.catalogue.all_keys() if found.tenant == "short"]
    with Browser() as browser:
        page = browser.open(guarded.server.url, text)
        page.wait(f"{ROWS}.length === 2")
        guarded.catalogue.revoke(key.id, time.time())
        page.wait("document.querySelector('#notice').innerText.includes('revoked')")
        assert "Sign in again" in page.text("#notice")
