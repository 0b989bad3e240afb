"""Traces to a collector that the test runs, logs as JSON, and a dashboard and alerts that name metrics there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import tritonclient.grpc as triton
import yaml
from collector import Collector
from conftest import ROOT, Server
from prometheus_client.parser import text_string_to_metric_families

SECRET = "xyzzy canary text"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    yield found
    found.close()


def values(span: Any) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in span.attributes}


def test_a_span_for_each_request_with_its_phases(collector: Collector, tmp_path: Path) -> None:
    with Server(
        *(
            "demo:minilm",
            "demo:smollm2",
            "--otlp",
            collector.url,
            "--grpc-port",
            "0",
            "--state",
            str(tmp_path),
        )
    ) as server:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "mine-1"}
        body = {"model": "minilm", "input": SECRET}
        assert httpx2.post(f"{server.url}/v1/embeddings", json=body, headers=headers).status_code == 200
        chat = {
            "model": "smollm2",
            "messages": [{"role": "user", "content": SECRET}],
            "max_tokens": 8,
            "stream": True,
        }
        assert httpx2.post(f"{server.url}/v1/chat/completions", json=chat, timeout=60).status_code == 200
        assert (
            httpx2.post(f"{server.url}/v1/embeddings", json={"model": SECRET, "input": "a"}).status_code
            == 404
        )
        with triton.InferenceServerClient(f"127.0.0.1:{server.started['grpc_port']}") as client:
            text = triton.InferInput("text", [1], "BYTES")
            text.set_data_from_numpy(np.array([SECRET.encode()], dtype=np.object_))
            client.infer("minilm", [text], headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
        start = time.time_ns()
        assert server.stop() == 0  # sends what is left
    roots = {
        span.name: span
        for span in collector.spans
        if not span.parent_span_id or span.parent_span_id.hex() == PARENT
    }
    embeddings = next(span for span in collector.spans if values(span).get("headrace.request_id") == "mine-1")
    assert (embeddings.trace_id.hex(), embeddings.parent_span_id.hex()) == (TRACE, PARENT)
    assert 0 < embeddings.end_time_unix_nano - embeddings.start_time_unix_nano < 30e9
    assert abs(start - embeddings.end_time_unix_nano) < 60e9
    found = values(embeddings)
    assert found["http.route"] == "/v1/embeddings"
    assert found["http.response.status_code"] == 200
    assert found["gen_ai.operation.name"] == "embeddings"
    assert found["gen_ai.request.model"] == "minilm"
    assert found["gen_ai.usage.input_tokens"] > 2
    phases = [span for span in collector.spans if span.parent_span_id == embeddings.span_id]
    assert [span.name for span in phases] == ["tokenize", "model"]
    for span in phases:
        assert embeddings.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= embeddings.end_time_unix_nano
    chat_span = roots["/v1/chat/completions"]
    assert values(chat_span)["gen_ai.usage.output_tokens"] == 8
    assert {s.name for s in collector.spans if s.parent_span_id == chat_span.span_id} == {
        "first token",
        "further tokens",
    }
    assert roots["inference.GRPCInferenceService/ModelInfer"].trace_id.hex() == TRACE
    assert SECRET.encode() not in collector.raw


def test_a_collector_that_is_away_costs_no_request(tmp_path: Path) -> None:
    with Server("--otlp", "http://127.0.0.1:1", "--state", str(tmp_path)) as server:
        body = {"model": "minilm", "input": "a"}
        statuses = [httpx2.post(f"{server.url}/v1/embeddings", json=body).status_code for _ in range(50)]
        assert statuses == [200] * 50
        server.terminate()
        assert server.process.wait(60) == 0


def test_logs_as_json(tmp_path: Path) -> None:
    with Server(
        "--log-format", "json", "--log-level", "info", "--access-log", "--state", str(tmp_path)
    ) as server:
        httpx2.post(f"{server.url}/v1/embeddings", json={"model": "minilm", "input": SECRET})
        assert server.stop() == 0
        lines = [json.loads(line) for line in server.errors().splitlines()]
    assert any("/v1/embeddings" in line["message"] for line in lines)
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    assert SECRET not in json.dumps(lines)


@pytest.fixture(scope="module")
def metric_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    with Server(
        "demo:minilm", "demo:smollm2", "--audit", "--state", str(tmp_path_factory.mktemp("state"))
    ) as server:
        for _ in range(7):  # a whole reference and something beside it, for the drift
            body = {"model": "minilm", "input": ["a"] * 200}
            assert httpx2.post(f"{server.url}/v1/embeddings", json=body, timeout=60).status_code == 200
        text = httpx2.get(f"{server.url}/metrics").text
        assert server.stop() == 0
    return {sample.name for family in text_string_to_metric_families(text) for sample in family.samples} | {
        "up"
    }


def names_in(expression: str) -> set[str]:
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]', " ", expression)
    return set(re.findall(r"\b(headrace_\w+|process_\w+|up)\b", bare))


def test_the_dashboard_shows_metrics_that_there_are(metric_names: set[str]) -> None:
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "headrace.json").read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    places = set()
    for panel in panels:
        assert panel["title"]
        for target in panel["targets"]:
            used = names_in(target["expr"])
            assert used, panel["title"]
            assert used <= metric_names, (panel["title"], used - metric_names)
            assert target["expr"].count("(") == target["expr"].count(")")
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & places, panel["title"]
        places |= cells
    assert len(panels) >= 16


def test_the_alerts_use_metrics_that_there_are(metric_names: set[str]) -> None:
    file = ROOT / "deploy" / "prometheus" / "alerts.yml"
    [group] = yaml.safe_load(file.read_text())["groups"]
    assert len({rule["alert"] for rule in group["rules"]}) == len(group["rules"]) >= 6
    for rule in group["rules"]:
        used = names_in(rule["expr"])
        assert used, rule["alert"]
        assert used <= metric_names, rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
    promtool = shutil.which("promtool")
    if promtool is not None:
        subprocess.run([promtool, "check", "rules", str(file)], check=True, capture_output=True)
