"""/metrics, read by Prometheus' own parser."""

from __future__ import annotations

import math

import httpx2
from conftest import Server
from prometheus_client.parser import text_string_to_metric_families

from headrace.observe import HttpMetrics, _cumulative


def post(http: httpx2.Client, **body: object) -> int:
    return http.post("/v1/embeddings", json={"model": "minilm", **body}).status_code


def test_counters_follow_the_requests(server: Server, http: httpx2.Client) -> None:
    def counts() -> dict[str, float]:
        names = ("requests", "sequences", "tokens", "batches")
        return {name: server.metric(f"headrace_{name}_total", model="minilm") for name in names}

    before = counts()
    ok = server.metric("headrace_http_requests_total", route="/v1/embeddings", status="200")
    assert post(http, input=["one", "two", "three"]) == 200
    after = counts()
    assert after["requests"] - before["requests"] == 1
    assert after["sequences"] - before["sequences"] == 3
    assert after["tokens"] - before["tokens"] == 9  # each with [CLS] and [SEP]
    assert 1 <= after["batches"] - before["batches"] <= 3
    assert server.metric("headrace_http_requests_total", route="/v1/embeddings", status="200") == ok + 1


def test_refusals_are_counted_by_status(server: Server, http: httpx2.Client) -> None:
    assert post(http, input=[]) == 400
    before = server.metric("headrace_http_requests_total", route="/v1/embeddings", status="400")
    assert post(http, input=[]) == 400
    assert server.metric("headrace_http_requests_total", route="/v1/embeddings", status="400") == before + 1


def test_every_histogram_is_whole(server: Server, http: httpx2.Client) -> None:
    post(http, input="x")
    answer = http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    histograms = [family for family in families.values() if family.type == "histogram"]
    assert {family.name for family in histograms} == {
        *("headrace_queue_seconds", "headrace_compute_seconds", "headrace_forward_seconds"),
        *("headrace_batch_tokens", "headrace_batch_sequences", "headrace_http_seconds"),
    }
    for family in histograms:
        series: dict[str, list[tuple[float, float]]] = {}
        for sample in family.samples:
            key = sample.labels.get("model") or sample.labels["route"]
            if sample.name.endswith("_bucket"):
                series.setdefault(key, []).append((float(sample.labels["le"]), sample.value))
        for buckets in series.values():
            assert buckets == sorted(buckets), "bounds and counts rise together"
            assert buckets[-1][0] == math.inf
            assert buckets[-1][1] >= 1
    for family in families.values():
        assert family.documentation


def test_no_request_can_make_a_series(server: Server, http: httpx2.Client) -> None:
    for i in range(20):
        http.get(f"/nothing/{i}")
        http.get(f"/v1/models/unknown-{i}")
        post(http, input="x", model=f"unknown-{i}")
    text = http.get("/metrics").text
    assert "unknown-" not in text
    assert "nothing" not in text


def test_gauges_and_build(server: Server) -> None:
    assert server.metric("headrace_queued_tokens", model="minilm") == 0
    assert server.metric("headrace_tokens_per_second", model="minilm") > 0
    assert server.metric("headrace_build_info") == 1
    assert server.metric("process_resident_memory_bytes") > 1e6


def test_a_value_on_a_bound_counts_below_it() -> None:
    assert _cumulative([1.0, 2.0], [3, 4, 5]) == [("1.0", 3), ("2.0", 7), ("+Inf", 12)]
    metrics = HttpMetrics()
    metrics.observe("/x", 200, 0.001)
    (_, latency) = metrics.collect()
    found = {sample.labels["le"]: sample.value for sample in latency.samples if "le" in sample.labels}
    assert found["0.0005"] == 0
    assert found["0.001"] == 1
