"""The console in a real browser against a real server: what it shows and what it runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from browser import Browser, Page
from conftest import Server
from console_page import ROWS, panel, row, run_panel

import headrace.toy

TASKS = ("classify", "rerank", "tag", "answer", "fill-mask")
NAMES = ["minilm", "smollm2", *(f"toy-{task}" for task in sorted(TASKS))]


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for task in TASKS:
        headrace.toy.model(task, folder / f"toy-{task}")
    return folder


@pytest.fixture(scope="module")
def server(toys: Path) -> Iterator[Server]:
    with Server("--queue-budget", "300", "demo:minilm", "demo:smollm2", str(toys)) as running:
        yield running
        assert running.stop() == 0


@pytest.fixture
def page(server: Server, browser: Browser) -> Iterator[Page]:
    page = browser.open(server.url)
    page.run("localStorage.clear()")  # the language that another test chose
    page.go(server.url)
    page.wait(f"{ROWS}.length === {len(NAMES)}")
    yield page
    assert not page.problems
    page.close()


class TestThePage:
    def test_nothing_comes_from_elsewhere(self, page: Page, server: Server) -> None:
        assert page.requests
        assert [url for url in page.requests if not url.startswith(f"{server.url}/")] == []
        page.wait("document.querySelector('#state').className === 'pill ready'")
        answer = httpx2.get(server.url)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        for path in (
            "",
            *sorted({url.removeprefix(server.url) for url in page.requests if "/console/" in url}),
        ):
            text = httpx2.get(f"{server.url}/{path}").text.replace("http://www.w3.org/", "")
            assert "http://" not in text
            assert "https://" not in text

    def test_the_table_lists_the_models(self, page: Page) -> None:
        assert page.run(f"{ROWS}.map((row) => row.dataset.model)") == NAMES
        cells = page.run(
            f"[...document.querySelectorAll('{row('minilm')} td')].map((cell) => cell.innerText)"
        )
        assert cells[:4] == ["minilm", "embed", "ready", "1"]
        assert cells[5:8] == ["22.6M", "384", "256"]
        assert page.run(f"document.querySelector('{row('smollm2')}').innerText").split()[:3] == [
            "smollm2",
            "chat",
            "ready",
        ]
        # Without keys nobody manages models.
        assert page.run("document.querySelectorAll('#model-table button:not([hidden])').length") == 0
        assert page.run("document.querySelector('#keys').hidden")

    def test_plots_move_under_load(self, page: Page, server: Server) -> None:
        body = {"model": "minilm", "input": ["the water turns the wheel"] * 8}
        stop = threading.Event()

        def load() -> None:
            with httpx2.Client(base_url=server.url, timeout=60) as http:
                while not stop.is_set():
                    http.post("/v1/embeddings", json=body)
                    time.sleep(0.01)

        def number(plot: str) -> str:
            return f"parseFloat(document.querySelector('#plot-{plot} .legend b').innerText.replace(',', ''))"

        before = page.run("document.querySelector('#plot-requests .line').getAttribute('d')")
        thread = threading.Thread(target=load)
        thread.start()
        try:
            page.wait(f"{number('requests')} > 3 && {number('tokens')} > 50 && {number('p50')} > 0")
            page.wait(f"document.querySelectorAll('{row('minilm')} td')[9].innerText !== '0'")
            page.watch(2.5)
            after = page.run("document.querySelector('#plot-requests .line').getAttribute('d')")
            assert after.count("L") >= before.count("L") + 2
            assert (
                int(
                    page.run(f"document.querySelectorAll('{row('minilm')} td')[8].innerText.replace(',', '')")
                )
                > 10
            )
        finally:
            stop.set()
            thread.join()
        page.wait(f"{number('requests')} === 0")
        # A moment in the past is told under the pointer.
        place = page.run("(() => { const b = document.querySelector('#plot-tokens svg').getBoundingClientRect();"
                         "return [b.right - 12, b.top + 50]; })()")  # fmt: skip
        page.call("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
        page.wait("document.querySelector('#plot-tokens figcaption small').innerText.includes('ago')")

    def test_quantiles_of_a_histogram(self, page: Page) -> None:
        def quantile(counts: list[int], share: float) -> float | None:
            found = page.run(
                f"import('./console/series.js').then(({{quantile}}) => quantile([1, 2, 4], {counts}, {share}))"
            )
            return None if found is None else float(found)

        assert quantile([0, 0, 0, 0], 0.5) is None
        assert quantile([10, 0, 0, 0], 0.5) == 0.5
        assert quantile([0, 10, 0, 0], 0.99) == pytest.approx(1.99)
        assert quantile([5, 0, 5, 0], 0.5) == 1
        assert quantile([5, 0, 5, 0], 0.75) == 3
        assert quantile([0, 0, 0, 7], 0.5) == 4  # above what is told apart

    def test_lines_break_where_nothing_is_known(self, page: Page) -> None:
        told = """import('./console/series.js').then(({Series}) => {
            const series = new Series();
            const status = (time, n) => ({time, http: {requests: n, failed: 0,
                latency_seconds: {bounds: [1], counts: [n, 0]}},
                models: [{id: 'a', tokens: 10 * n, queued_tokens: 1}]});
            for (const [time, n] of [[0, 0], [1, 2], [2, 4], [60, 50], [61, 52], [62, 1], [63, 3], [500, 9]]) {
                series.push(status(time, n));
            }
            return series.samples.map(({time, requests, tokens}) => [time, requests ?? null, tokens ?? null]);
        })"""
        # Hidden until 60, another server at 62, and after 500 all of it is older than five minutes.
        assert page.run(told.replace(", [500, 9]", "")) == [
            [0, None, None],
            [1, 2, 20],
            [2, 2, 20],
            [60, None, None],
            [61, 2, 20],
            [62, None, None],
            [63, 2, 20],
        ]
        assert page.run(told) == [[500, None, None]]

    def test_a_model_that_drifted_is_marked(self, page: Page) -> None:
        shown = """import('./console/models.js').then(({ModelTable}) => {
            const element = document.createElement('table'), table = new ModelTable(element, null, () => {});
            const seen = (drift) => {
                table.show([{id: 'a', state: 'ready', task: 'embed', drift}], new Map());
                const pill = element.querySelector('.drift');
                return pill.hidden ? null : [pill.textContent, pill.title];
            };
            return [seen(null), seen({input_tokens: 0.2, output: null}), seen({input_tokens: 0.1, output: 0.312})];
        })"""
        none, little, much = page.run(shown)
        assert none is little is None
        assert much[0] == "drift 0.31"
        assert "input lengths 0.1, outputs 0.31" in much[1]

    def test_nothing_is_asked_while_the_tab_is_hidden(self, page: Page, browser: Browser) -> None:
        def asked() -> int:
            return sum(url.endswith("/v1/status") for url in page.requests)

        page.watch(2.5)
        assert asked() >= 2
        # The tab is shown all the time where there is no window, so the page is told that it is not.
        hidden = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
        hidden += "document.dispatchEvent(new Event('visibilitychange'))"
        page.run(hidden % "true")
        page.watch(0.5)
        before = asked()
        page.watch(3)
        assert asked() == before
        page.run(hidden % "false")
        page.watch(1.5)
        assert asked() > before

    def test_languages(self, page: Page, server: Server) -> None:
        assert page.text("#models h2") == "Models"
        assert page.run("document.documentElement.lang") == "en"
        run_panel(page, "minilm")
        page.click("#language")
        assert page.text("#models h2") == "模型"
        assert page.run("document.documentElement.lang") == "zh-Hans"
        assert page.text(f"{row('minilm')} .pill") == "就绪"
        assert "词元" in page.text(f"{panel('minilm')} .took")
        page.go(server.url)  # remembered
        page.wait("document.querySelector('#models h2')?.innerText === '模型'")
        page.click("#language")
        assert page.text("#models h2") == "Models"
        with Browser("zh-CN,zh") as chinese:
            other = chinese.open(server.url)
            other.wait("document.querySelector('#models h2')?.innerText === '模型'")
            assert not other.problems

    def test_every_string_is_there_in_both_languages(self, page: Page) -> None:
        keys = page.run(
            "(async () => { const {words} = await import('./console/strings.js');"
            "return Object.values(words).map((language) => Object.keys(language).sort()); })()"
        )
        assert keys[0] == keys[1]
        assert len(keys[0]) > 100

    def test_no_sideways_scrolling_on_a_phone(self, page: Page) -> None:
        page.resize(360, 740)
        for model in NAMES:
            page.choose("#try-model", model)
            assert page.run("document.documentElement.scrollWidth") <= 360, model

    def test_by_keyboard(self, page: Page) -> None:
        focused = []
        for _ in range(12):
            page.press("Tab")
            focused.append(page.run("document.activeElement.innerText || document.activeElement.name || ''"))
        assert focused[0] == "Skip to content"
        assert focused[1:5] == ["Live", "Models", "Try it", "Masking"]
        assert "中文" in focused
        page.run("document.querySelector('#language').focus()")
        page.press("Enter")
        assert page.text("#models h2") == "模型"


class TestTryIt:
    def test_chat_streams(self, page: Page) -> None:
        page.choose("#try-model", "smollm2")
        page.fill(f"{panel('smollm2')} textarea", "Count from one to fifty.")
        page.run("window.lengths = new Set(); new MutationObserver(() => window.lengths.add("
                 "document.querySelector('.bubble.assistant')?.innerText.length)).observe("
                 "document.querySelector('.log'), {subtree: true, childList: true, characterData: true})")  # fmt: skip
        page.press("Enter")
        page.wait("document.querySelector('.chat .took').innerText.includes('tokens/s')", 60)
        # More states than the empty bubble and the whole answer; how many is the browser's to say.
        assert page.run("window.lengths.size") > 3
        assert len(page.text(".bubble.assistant")) > 20
        # The conversation goes on: the second question is sent with the first.
        page.run("document.querySelector('.chat details').open = true")
        page.fill(f"{panel('smollm2')} textarea", "And it's back?")
        page.wait("document.querySelector('.chat pre').innerText.includes('back?')")
        command = page.text(".chat pre")
        assert command.startswith("curl -N http://127.0.0.1:")
        assert "Count from one to fifty." in command
        assert "it'\\''s" in command

    def test_chat_stops(self, page: Page, server: Server) -> None:
        page.choose("#try-model", "smollm2")
        page.fill(f"{panel('smollm2')} label:last-of-type input", "4000")
        page.fill(f"{panel('smollm2')} textarea", "Write a very long story about a river.")
        page.press("Enter")
        page.wait("document.querySelector('.bubble.assistant')?.innerText.length > 20", 60)
        page.click(f"{panel('smollm2')} button.danger")
        page.wait("document.querySelector('.bubble.assistant').innerText.endsWith('stopped')")
        page.wait("!document.querySelector('.chat button[type=submit]').hidden")
        end = time.monotonic() + 10
        while server.metric("headrace_generation_running", model="smollm2"):  # nor does the server go on
            assert time.monotonic() < end
        page.click(f"{panel('smollm2')} .row > button.quiet")
        assert page.run("document.querySelectorAll('.bubble').length") == 0

    def test_errors_are_shown_as_the_server_wrote_them(self, page: Page, server: Server) -> None:
        page.choose("#try-model", "minilm")
        page.fill(f"{panel('minilm')} textarea", "")
        page.call(
            "Input.dispatchKeyEvent", type="keyDown", key="Delete", code="Delete", windowsVirtualKeyCode=46
        )
        page.click(f"{panel('minilm')} button[type=submit]")
        page.wait(f"!!document.querySelector('{panel('minilm')} .notice.bad')")
        body = {"model": "minilm", "input": []}
        written = httpx2.post(f"{server.url}/v1/embeddings", json=body).json()["error"]["message"]
        assert page.text(f"{panel('minilm')} .notice.bad") == f"Error 400 {written}"
        page.choose("#try-model", "smollm2")
        page.fill(f"{panel('smollm2')} label:last-of-type input", "0")
        page.fill(f"{panel('smollm2')} textarea", "a")
        page.press("Enter")
        page.wait("document.querySelector('.chat .notice.bad')?.innerText.includes('max_tokens')")
        # The browser's own console says so too; that is no fault of the page.
        page.problems = [problem for problem in page.problems if "400 (Bad Request)" not in problem]

    def test_embed(self, page: Page) -> None:
        run_panel(page, "minilm")
        values = page.run(
            "[...document.querySelectorAll('.heat tbody td')].map((cell) => Number(cell.innerText))"
        )
        assert len(values) == 25
        assert values[0] == values[6] == 1
        assert values[1] > 0.5 > values[3]  # wheels and mills, and not violins
        assert page.text(f"{panel('minilm')} .took").endswith("48 tokens")

    def test_tag(self, page: Page) -> None:
        page.choose("#try-model", "toy-tag")
        page.fill(f"{panel('toy-tag')} textarea", "\U0001f30a Maria runs the mill in Paris.")
        run_panel(page, "toy-tag")
        marks = page.run("[...document.querySelectorAll('mark')].map((mark) => [mark.firstChild.data,"
                         "mark.querySelector('small').innerText])")  # fmt: skip
        assert marks
        assert {kind for _, kind in marks} <= {"PER", "LOC"}
        whole = page.run(
            "(() => { const text = document.querySelector('.marked').cloneNode(true);"
            "text.querySelectorAll('small').forEach((kind) => kind.remove()); return text.textContent; })()"
        )
        assert whole == "\U0001f30a Maria runs the mill in Paris."  # places count code points

    @pytest.mark.parametrize(
        ("model", "rows"), [("toy-classify", 2), ("toy-rerank", 4), ("toy-fill-mask", 8)]
    )
    def test_bars(self, page: Page, model: str, rows: int) -> None:
        run_panel(page, model)
        scores = page.run(
            f"[...document.querySelectorAll('{panel(model)} .bars b')].map((b) => Number(b.innerText))"
        )
        assert len(scores) == rows
        assert scores == sorted(scores, reverse=True)
        widths = page.run(
            f"[...document.querySelectorAll('{panel(model)} .bar')].map((bar) => bar.offsetWidth)"
        )
        assert widths == sorted(widths, reverse=True)
        assert widths[0] > 0

    def test_answer(self, page: Page) -> None:
        run_panel(page, "toy-answer")
        marked = page.text(f"{panel('toy-answer')} mark")
        assert marked
        assert marked in page.run(f"document.querySelector('{panel('toy-answer')} [name=context]').value")
        assert page.run(f"document.querySelectorAll('{panel('toy-answer')} .bars li').length") == 3
