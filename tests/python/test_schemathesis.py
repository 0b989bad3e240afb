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
from test_judges import unpacked

import headrace.toy

# Without a key it is not told what else a path could be asked.
_METHODS = "positive_data_acceptance,unsupported_method"
_DATATYPE = "#/components/schemas/Datatype"
_KINDS = ("number", "string", "boolean")
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


def protocols_own(folder: Path) -> Path:
    """The Open Inference Protocol's description as MLServer's wheel has it, of the two models that are served.

    What it describes beside the protocol is left out. A reference of it leads nowhere, and a type is none of JSON's.
    """
    wheel = unpacked("mlserver-1.7.1", "mlserver==1.7.1")
    text = (wheel / "mlserver" / "rest" / "openapi" / "dataplane.json").read_text()
    described = json.loads(text)
    schemas = described["components"]["schemas"]
    described["components"]["schemas"]["Datatype"] = {"type": "string"}
    schemas["TensorData"] = {"type": "array", "items": {"anyOf": [{"type": kind} for kind in _KINDS]}}
    described = json.loads(json.dumps(described).replace("#/components/enums/Datatype", _DATATYPE))
    found = {}
    for path, item in described["paths"].items():
        if path.endswith(("_stream", "/generate")):
            continue
        for parameter in item.get("parameters", ()):
            names = ["minilm", "tag"] if parameter["name"] == "model_name" else ["1"]
            parameter["schema"]["enum"] = names
        if path.endswith("/ready"):  # "a 4xx status code indicates false", as the protocol's text has it
            item["get"]["responses"]["4XX"] = {"description": "not ready, or not there"}
        found[path] = item
    assert len(found) == 9
    described["paths"] = found
    path = folder / "protocol.json"
    path.write_text(json.dumps(described))
    return path


@pytest.mark.slow
def test_the_open_inference_protocol_s_own_description(tmp_path: Path) -> None:
    tag = headrace.toy.model("tag", tmp_path / "tag")
    with Server("demo:minilm", f"tag={tag}", "--queue-budget", "300") as server:
        cases = run(protocols_own(tmp_path), server.url, "--max-examples", "100")
        FIGURES.append(f"schemathesis on the Open Inference Protocol: {cases} cases, no finding")
        assert cases >= 1000
        assert 'status="500"' not in httpx2.get(f"{server.url}/metrics").text
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
