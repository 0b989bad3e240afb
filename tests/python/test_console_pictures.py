"""The console's panels for pictures: a file is chosen, and what a model found is drawn on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, Page
from conftest import Server
from console_page import ROWS, panel
from PIL import Image

import headrace.toy

DETECTOR = """
import numpy as np
import headrace
from headrace import pictures

@headrace.model(inputs={"image": "bytes"},
                outputs={"boxes": "float32[4, 4]", "scores": "float32[4]", "classes": "int64[4]"})
def find(image):
    n = len(image)
    assert pictures.decode(image[0]).shape == (300, 400, 3)
    boxes = np.array([[40, 60, 140, 160], [200, 100, 380, 280], [0, 0, 9, 9], [0, 0, 0, 0]], np.float32)
    return {"boxes": np.stack([boxes] * n), "scores": np.float32([[0.5, 0.9, 0.2, 0.0]] * n),
            "classes": np.int64([[1, 0, 1, -1]] * n)}
"""
MANIFEST = """
runtime = "python"
function = "model.py:find"
trusted = true
labels = ["mill", "wheel"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pictures")
    (made / "models" / "detector").mkdir(parents=True)
    (made / "models" / "detector" / "model.py").write_text(DETECTOR)
    (made / "models" / "detector" / "headrace.toml").write_text(MANIFEST)
    headrace.toy.vision_model(made / "models" / "kinds")
    Image.fromarray(np.full((300, 400, 3), 255, np.uint8)).save(made / "white.png")
    (made / "words.txt").write_text("no picture")
    return made


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with Server(str(folder / "models")) as running:
        yield running
        assert running.stop() == 0


@pytest.fixture
def page(server: Server, browser: Browser) -> Iterator[Page]:
    page = browser.open(server.url)
    page.wait(f"{ROWS}.length === 2")
    yield page
    page.close()


def ask(page: Page, model: str, path: Path) -> None:
    page.choose("#try-model", model)
    page.wait(f"Boolean(document.querySelector('{panel(model)} input[type=file]'))")
    page.put(f"{panel(model)} input[type=file]", path)
    page.click(f"{panel(model)} button[type=submit]")
    page.wait(f"!document.querySelector('{panel(model)} .result .empty')")


def colours(page: Page, model: str, *points: tuple[int, int]) -> list[list[int]]:
    """What the result's canvas shows there, read at once: the browser warns of more."""
    script = f"""(() => {{
      const canvas = document.querySelector('{panel(model)} canvas');
      const {{data}} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      return {list(map(list, points))}.map(([x, y]) => [...data.slice(4 * (y * canvas.width + x)).slice(0, 3)]);
    }})()"""
    found: list[list[int]] = page.run(script)
    return found


def test_boxes_are_drawn_on_the_picture(page: Page, folder: Path) -> None:
    ask(page, "detector", folder / "white.png")
    assert page.run(f"document.querySelector('{panel('detector')} canvas').width") == 400
    mill, wheel, white = [230, 159, 0], [86, 180, 233], [255, 255, 255]
    on_mill, on_wheel, elsewhere = (
        [(200, 200), (380, 200)],
        [(40, 100)],
        [(300, 200), (9, 5)],
    )  # inside; too low a score
    found = colours(page, "detector", *on_mill, *on_wheel, *elsewhere)
    assert found == [mill, mill, wheel, white, white]
    told = page.run(
        f"[...document.querySelectorAll('{panel('detector')} .found li')].map((li) => li.innerText)"
    )
    assert [line.split()[0] for line in told] == ["mill", "wheel"]
    page.click(f"{panel('detector')} summary")
    command = page.text(f"{panel('detector')} details code")
    assert "base64 of white.png" in command
    assert len(command) < 500
    assert not page.problems


def test_a_picture_is_classified(page: Page, folder: Path) -> None:
    ask(page, "kinds", folder / "white.png")
    assert page.run(f"document.querySelectorAll('{panel('kinds')} .bars li').length") >= 2
    assert colours(page, "kinds", (200, 200)) == [[255, 255, 255]]
    assert not page.problems


def test_what_is_no_picture_is_told_by_the_model(page: Page, folder: Path) -> None:
    ask(page, "kinds", folder / "words.txt")
    assert page.text(f"{panel('kinds')} .notice.bad")
