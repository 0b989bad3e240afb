"""What the README and the pages show works: Python blocks run, commands and files exist, links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Server

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
BLOCKS = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}:{i}")
    for page in PAGES
    for i, block in enumerate(BLOCK.findall(page.read_text(encoding="utf-8")))
]


@pytest.mark.parametrize("block", BLOCKS)
def test_python_blocks_run(block: str, server: Server, tmp_path: Path) -> None:
    script = tmp_path / "block.py"
    script.write_text(block.replace("http://127.0.0.1:8000", server.url), encoding="utf-8")
    command = [sys.executable, "-W", "error", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_the_examples_are_short() -> None:
    """Ten lines for a notebook, a function and FastAPI, as the README promises by showing them."""
    for name in ("README.md", "README.zh.md"):
        blocks = BLOCK.findall((ROOT / name).read_text(encoding="utf-8"))
        assert len(blocks) == 4
        assert all(len(block.splitlines()) <= 10 for block in blocks), name


def test_both_languages_show_the_same() -> None:
    def shown(name: str) -> list[str]:
        text = (ROOT / name).read_text(encoding="utf-8")
        return [re.sub(r"\s*#.*", "", block) for block in re.findall(r"```\w+\n(.*?)```", text, re.DOTALL)]

    assert shown("README.md") == shown("README.zh.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), target


def test_the_two_commands_are_there() -> None:
    for name in ("README.md", "README.zh.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "\npip install '.[demo,serve]' && headrace serve\n" in text
        assert "\nbash tests/run.sh\n" in text
    assert os.access(ROOT / "tests/run.sh", os.X_OK)
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_every_command_named_exists() -> None:
    known = subprocess.run(
        [sys.executable, "-m", "headrace.cli", "--help"], capture_output=True, text=True, check=True
    )
    for page in PAGES:
        for command in re.findall(r"(?:`|    |&& )headrace (\w+)", page.read_text(encoding="utf-8")):
            assert re.search(rf"^  {command}\b", known.stdout, re.MULTILINE), (
                f"{page.name}: headrace {command}"
            )


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"({page.name})" in index


def test_the_notebooks_are_all_there_and_in_the_index() -> None:
    names = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert [name[:3] for name in names] == [f"{number:02}_" for number in range(1, 10)]
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    assert re.findall(r"\(\.\./notebooks/([^)]+)\)", index) == names
