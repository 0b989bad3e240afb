"""schemathesis on our own description: thousands of requests, good and bad, with and without keys."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from conftest import FIGURES, Server
from guarded import Guarded

import headrace.toy

# Without a key it is not told what else a path could be asked.
_METHODS = "positive_data_acceptance,unsupported_method"
TASKS = ("classify", "rerank", "tag", "answer", "fill_mask")


def run(schema: Path, url: str, *arguments: str, leave_out: str = "positive_data_acceptance") -> int:
    """The number of cases; fails on any finding.

    positive_data_acceptance is left out: a description cannot say which models there are, nor what a text's tokens are.
    """
    command = [sys.executable, "-m", "schemathesis.cli", "run", str(schema), "--url", url, "--checks", "all"]
    command += [
        "--exclude-checks",
        leave_out,
        "--workers",
        "1",
        "--seed",
        "1",
        "--no-color",
        *arguments,
    ]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=500, env=environment, cwd=schema.parent
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    found = re.search(r"(\d+) generated", done.stdout)
    assert found is not None, done.stdout[-2000:]
    return int(found[1])


@pytest.mark.slow
def test_ten_thousand_cases(tmp_path: Path) -> None:
    models = [f"{task}={headrace.toy.model(task, tmp_path / task)}" for task in TASKS]
    with Server("demo:minilm", *models, "--queue-budget", "300") as server:
        schema = tmp_path / "openapi.json"
        schema.write_bytes(httpx2.get(f"{server.url}/openapi.json").content)
        cases = run(schema, server.url, "--max-examples", "210")
        FIGURES.append(f"schemathesis: {cases} cases, no finding")
        assert cases >= 10_000
        for status in (500, 501, 502):
            assert f'status="{status}"' not in httpx2.get(f"{server.url}/metrics").text
        assert server.stop() == 0


def test_with_keys_only_health_is_answered(tmp_path: Path) -> None:
    with Guarded(tmp_path) as guarded:
        with guarded.client("all") as http:
            description = http.get("/openapi.json").json()
        schema = tmp_path / "openapi.json"
        schema.write_text(json.dumps(description))
        assert run(schema, guarded.server.url, "--max-examples", "20", leave_out=_METHODS) > 300
        with guarded.client("all") as http:
            answered = re.findall(
                r'headrace_http_requests_total{route="([^"]*)",status="2', http.get("/metrics").text
            )
        assert set(answered) <= {
            "/livez",
            "/readyz",
            "/health",
            "/v2/health/live",
            "/v2/health/ready",
            "/openapi.json",
            "/metrics",
        }
        assert guarded.server.stop() == 0
