"""What the service counts, for Prometheus.

`EngineCollector(engine)` can be registered in any prometheus_client registry, so that an application which
mounts `headrace.serve.router` shows the engine's figures beside its own:

    prometheus_client.REGISTRY.register(headrace.observe.EngineCollector(engine))

Labels are bounded: models are those loaded, routes those declared, so no request can make a new series.
"""

from __future__ import annotations

import bisect
from collections.abc import Container, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric

    from .engine import Engine
    from .security.audit import AuditLog

_COUNTERS = {
    "requests": "Requests taken in",
    "sequences": "Texts answered",
    "tokens": "Tokens computed",
    "batches": "Batches run",
    "refused": "Requests refused because the queue was full",
    "expired": "Requests whose deadline passed",
    "cancelled": "Requests withdrawn, such as by a client that left",
    "failed": "Requests that ended in an internal error",
}
_GAUGES = {
    "queued_tokens": "Tokens that wait for a batch",
    "running_tokens": "Tokens in the batch that runs",
    "tokens_per_second": "Speed by which the queue's wait is estimated",
}
_HISTOGRAMS = {
    "queue_seconds": "Time from a request's submission to its first batch",
    "compute_seconds": "Time from a request's first batch to its answer",
    "forward_seconds": "Time of one batch in the model",
    "batch_tokens": "Tokens in a batch",
    "batch_sequences": "Texts in a batch",
}
# From a refusal's fraction of a millisecond to a patient client's limit; about two bounds an octave.
_LATENCY_BOUNDS = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0),
)


# Of language models: headrace_generation_<name>.
_GENERATION_COUNTERS = {
    "requests": "Texts asked for",
    "refused": "Requests refused because the queue was full",
    "expired": "Texts whose time was over before they were",
    "cancelled": "Texts given up, such as by a client that left",
    "failed": "Texts that ended in an internal error",
    "prompt_tokens": "Prompt tokens computed",
    "cached_tokens": "Prompt tokens found computed",
    "generated_tokens": "Tokens generated",
    "proposed_tokens": "Tokens that were proposed, by the text itself or a draft model, and computed",
    "accepted_tokens": "Proposed tokens that were what the model wrote",
    "steps": "Steps run",
    "step_seconds": "Seconds spent in steps",
    "draft_steps": "Steps of the draft model",
    "draft_seconds": "Seconds spent in steps of the draft model",
    "preemptions": "Texts that gave their memory to others for a while",
    "cache_evictions": "Cached blocks taken for something else",
}
_GENERATION_GAUGES = {
    "running": "Texts being written",
    "waiting": "Texts that wait to be begun",
    "queued_tokens": "Prompt tokens that wait",
    "row_cost": "What one more row of a step costs, as a share of a step of one row",
    "cache_blocks": "Blocks of the cache of keys and values",
    "cache_bytes": "Memory of all blocks",
    "cache_used": "Blocks in use",
    "draft_blocks": "Blocks in use of the draft model's own cache",
    "cache_cached": "Blocks not in use that hold what may be asked for again",
}


# Of residence in memory: headrace_model_<name>.
_RESIDENCE_COUNTERS = {
    "loads": "Times the model was loaded",
    "unloads": "Times it was taken out of memory to make room",
    "load_seconds": "Seconds spent in loading it",
}
_RESIDENCE_GAUGES = {"bytes": "Bytes it takes in memory, 0 while it is not there"}


# Of shadows: headrace_shadow_<name>; a mean is the quotient of two sums.
_SHADOW_COUNTERS = {
    "copies": "Requests copied to the shadow and answered by it",
    "compared": "Answers compared",
    "agreed": "Compared answers that agree",
    "dropped": "Copies not run, since the shadow did not keep up",
    "failed": "Copies that failed",
    "cosines": "Vectors compared",
    "cosine_sum": "Sum of the cosines of the vectors compared",
    "served_seconds": "Seconds that the copied requests took",
    "shadow_seconds": "Seconds that their copies took",
}


# Of pipelines: headrace_pipeline_<name>.
_PIPELINE_COUNTERS = {
    "requests": "Texts that went through all steps",
    "failed": "Texts of which a step failed",
    "seconds": "Seconds from the first step to the last",
}


# Of drift: headrace_drift_<name>.
_DRIFT_GAUGES = {
    "reference": "Texts that the reference is made of, so far",
    "window": "Latest texts that are compared with it",
}


class EngineCollector:
    """Reads `engine.stats()` when Prometheus asks; costs nothing in between."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.metrics_core import GaugeMetricFamily, HistogramMetricFamily

        residences = {each.name: vars(each) for each in self._engine.residences()}
        yield from _numbers("headrace_model_", residences, _RESIDENCE_COUNTERS, _RESIDENCE_GAUGES)
        used, budget = self._engine.memory_used, self._engine.memory_budget
        yield GaugeMetricFamily("headrace_memory_bytes", "Bytes that models take", used)
        if budget is not None:
            yield GaugeMetricFamily("headrace_memory_budget_bytes", "Bytes that models may take", budget)

        stats = self._engine.stats()
        models: dict[str, dict[str, Any]] = stats["models"]
        yield from _numbers("headrace_", models, _COUNTERS, _GAUGES)
        yield from _numbers("headrace_shadow_", stats["shadows"], _SHADOW_COUNTERS, {})
        yield from _numbers("headrace_pipeline_", stats["pipelines"], _PIPELINE_COUNTERS, {})
        yield from _numbers("headrace_drift_", stats["drift"], {}, _DRIFT_GAUGES)
        index = GaugeMetricFamily(
            "headrace_drift_index", "Population stability index beside the reference", labels=["model", "of"]
        )
        for model, drift in stats["drift"].items():
            for of in ("input_tokens", "output"):
                if drift[of] is not None:
                    index.add_metric([model, of], drift[of])
        yield index
        for name, text in _HISTOGRAMS.items():
            histogram = HistogramMetricFamily(f"headrace_{name}", text, labels=["model"])
            for model, values in models.items():
                buckets = _cumulative(values[name]["bounds"], values[name]["counts"])
                histogram.add_metric([model], buckets, sum_value=values[name]["sum"])
            yield histogram
        yield from _numbers(
            "headrace_generation_", stats["language_models"], _GENERATION_COUNTERS, _GENERATION_GAUGES
        )


def _numbers(
    prefix: str, models: dict[str, dict[str, Any]], counters: dict[str, str], gauges: dict[str, str]
) -> Iterator[Metric]:
    """A family for each name in `counters` and `gauges`, with a value for each model."""
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

    kinds: list[tuple[Any, dict[str, str]]] = [(CounterMetricFamily, counters), (GaugeMetricFamily, gauges)]
    for kind, named in kinds:
        for name, text in named.items():
            family = kind(f"{prefix}{name}", text, labels=["model"])
            for model, values in models.items():
                family.add_metric([model], values[name])
            yield family


class HttpMetrics:
    """Counts of HTTP answers. Written by the event loop's thread only, so plain integers suffice."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, int], int] = {}
        self._latency: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}

    def observe(self, route: str, status: int, seconds: float) -> None:
        """One answer: `route` is a declared path, never the client's own."""
        key = (route, status)
        self._requests[key] = self._requests.get(key, 0) + 1
        counts = self._latency.get(route)
        if counts is None:
            counts = self._latency[route] = [0] * (len(_LATENCY_BOUNDS) + 1)
            self._seconds[route] = 0.0
        counts[bisect.bisect_left(_LATENCY_BOUNDS, seconds)] += 1
        self._seconds[route] += seconds

    def totals(self, routes: Container[str]) -> dict[str, Any]:
        """Counts over several routes since the start: answers, those of them that were refused or failed (400 and
        above), and a histogram of seconds; `counts` has one number more than `bounds`, for what is above them."""
        requests = failed = 0
        for (route, status), count in self._requests.items():
            if route in routes:
                requests += count
                failed += count if status >= 400 else 0
        counts = [0] * (len(_LATENCY_BOUNDS) + 1)
        for route, found in self._latency.items():
            if route in routes:
                counts = [sum(pair) for pair in zip(counts, found, strict=True)]
        latency = {"bounds": _LATENCY_BOUNDS, "counts": counts}
        return {"requests": requests, "failed": failed, "latency_seconds": latency}

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily

        requests = CounterMetricFamily("headrace_http_requests", "HTTP answers", labels=["route", "status"])
        for (route, status), count in list(self._requests.items()):
            requests.add_metric([route, str(status)], count)
        yield requests
        latency = HistogramMetricFamily("headrace_http_seconds", "Time from body to answer", labels=["route"])
        for route, counts in list(self._latency.items()):
            latency.add_metric([route], _cumulative(_LATENCY_BOUNDS, counts), sum_value=self._seconds[route])
        yield latency


def _cumulative(bounds: Iterable[float], counts: Iterable[int]) -> list[tuple[str, float]]:
    """Prometheus buckets hold everything at or below their bound."""
    from prometheus_client.utils import floatToGoString  # Prometheus' own spelling of a bound

    buckets: list[tuple[str, float]] = []
    total = 0
    for bound, count in zip([*bounds, float("inf")], counts, strict=True):
        total += count
        buckets.append((str(floatToGoString(bound)), total))  # type: ignore[no-untyped-call]
    return buckets


class AuditCollector:
    """Whether the audit log can be written, and what of it was lost."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.metrics_core import GaugeMetricFamily

        yield GaugeMetricFamily(
            "headrace_audit_writable",
            "1 while the audit log can be written",
            int(self._audit.failure is None),
        )


def registry(engine: Engine, http: HttpMetrics, audit: AuditLog | None = None) -> CollectorRegistry:
    """A registry of its own with the engine, the HTTP answers, the audit log, this process and the build."""
    from prometheus_client import CollectorRegistry, Info, ProcessCollector

    from ._core import __version__

    found = CollectorRegistry()
    found.register(EngineCollector(engine))
    found.register(http)
    if audit is not None:
        found.register(AuditCollector(audit))
    ProcessCollector(registry=found)
    Info("headrace_build", "What runs here", registry=found).info({"version": __version__})
    return found
