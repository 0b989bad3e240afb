"""A real `headrace serve` in a process of its own, on a free port, for every test that needs one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from browser import Browser

import headrace
import headrace.toy
from headrace.security.masking import Masker
from headrace.security.second_tier import tagged

ROOT = Path(__file__).resolve().parents[2]


FIGURES: list[str] = []  # what tests measured and a reader wants to see; no test passes or fails on them


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for figure in FIGURES:
        terminalreporter.write_line(figure)


class Server:
    """`headrace serve` under test; `url` is where it listens, `started` what its ready line said."""

    def __init__(self, *arguments: str) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by __exit__
        command = [sys.executable, "-m", "headrace.cli", "serve", "--port", "0", "--json", *arguments]
        begin = time.perf_counter()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._errors)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.seconds_to_ready = time.perf_counter() - begin
        if not line:
            self.process.wait(10)
            raise AssertionError(f"the server did not start: {self.errors()}")
        self.started: dict[str, Any] = json.loads(line)
        self.url: str = self.started["url"]
        self.port = int(self.url.rsplit(":", 1)[1])

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves nothing behind when a test failed before its stop()."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._errors.close()

    def warm_up(self) -> None:
        """Lets the engine measure its speed, on which it bases how much may wait."""
        for _ in range(3):
            body = {"model": self.started["models"][0], "input": ["the water turns the wheel " * 20] * 32}
            assert httpx2.post(f"{self.url}/v1/embeddings", json=body, timeout=60).status_code == 200

    def errors(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode()

    def terminate(self) -> None:
        os.kill(self.process.pid, signal.SIGTERM)

    def stop(self) -> int:
        """Ends the server as an operator would; its exit code."""
        if self.process.poll() is None:
            self.terminate()
        code = self.process.wait(60)
        assert "Traceback" not in self.errors(), self.errors()
        return code

    def metric(self, name: str, key: str | None = None, **labels: str) -> float:
        """One value out of /metrics, summed over the labels not given; by a key where the server wants one."""
        from prometheus_client.parser import text_string_to_metric_families

        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        text = httpx2.get(f"{self.url}/metrics", headers=headers).text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        found = [s.value for s in samples if s.name == name and labels.items() <= s.labels.items()]
        assert found, f"no sample {name} {labels} in {text}"
        return sum(found)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One server for all tests that do not end it; its queue is long, so that none refuses another."""
    with Server("--queue-budget", "300") as running:
        running.warm_up()
        yield running
        assert running.stop() == 0


@pytest.fixture
def http(server: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model for tag that finds what no rule does: the second tier of masking."""
    return headrace.toy.model("tag", tmp_path_factory.mktemp("names") / "names")


@pytest.fixture(scope="module")
def masker(names: Path) -> Iterator[Masker]:
    """What a server with that second tier does, in this process."""
    with headrace.load(names) as model:
        yield Masker(second=tagged(model))


TOY_TASKS = ("classify", "rerank", "tag", "answer", "fill_mask")


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model of each of TOY_TASKS, in a folder named as the task."""
    import headrace.toy

    folder = tmp_path_factory.mktemp("toys")
    for task in TOY_TASKS:
        headrace.toy.model(task, folder / task)
    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Products of tiny models are sooner done by one thread than shared out, above all on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as found:
        yield found
