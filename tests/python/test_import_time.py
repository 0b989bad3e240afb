"""`import headrace` is cheap, and `headrace serve` is ready soon."""

from __future__ import annotations

import statistics
import subprocess
import sys

from conftest import FIGURES, Server

HEAVY = {
    "numpy",
    "torch",
    "fastapi",
    "starlette",
    "httpx",
    "httpx2",
    "msgspec",
    "uvicorn",
    "grpc",
    "tqdm",
    "asyncio",
}


def python(script: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout


def test_import_takes_at_most_150_ms() -> None:
    script = "import time; t = time.perf_counter(); import headrace; print(time.perf_counter() - t)"
    times = [
        float(
            subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
        )
        for _ in range(5)
    ]
    FIGURES.append(f"import headrace took {statistics.median(times) * 1000:.1f} ms (median of {len(times)})")
    assert statistics.median(times) <= 0.15, times


def test_import_loads_nothing_heavy() -> None:
    script = "import sys, headrace; print(*sys.modules)"
    loaded = set(python(script).split())
    assert "headrace" in loaded
    assert not loaded & HEAVY


def test_serve_is_ready_soon() -> None:
    """The goal is 1.5 s on an idle machine; the bound leaves room for a busy one and a cold disk."""
    seconds = []
    for _ in range(3):
        with Server() as server:
            seconds.append(server.seconds_to_ready)
            assert server.stop() == 0
    FIGURES.append(f"headrace serve was ready after {min(seconds):.2f} s (best of {len(seconds)} starts)")
    assert min(seconds) < 5
