"""Traces by OpenTelemetry: a span for each request, and in it one for each phase of its work.

Attributes are those of OpenTelemetry's conventions for HTTP and for generative AI; no text is among them. A request's
traceparent (W3C Trace Context) makes its span part of the client's trace. Spans leave by OTLP over HTTP, from a thread.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgumentError

if TYPE_CHECKING:
    from .access import Call

# What the conventions call what a route does.
_OPERATIONS = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
    "/embed": "embeddings",
}


class Tracer:
    """Makes spans of requests that are done, and sends them to a collector.

    Args:
        endpoint: of the collector, such as http://127.0.0.1:4318.
        service_name: what the spans say that they are from.

    Raises InvalidArgumentError where OpenTelemetry is not installed.
    """

    def __init__(self, endpoint: str, service_name: str = "headrace") -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ModuleNotFoundError:
            raise InvalidArgumentError(
                "traces need OpenTelemetry: run: pip install 'headrace[otel]'"
            ) from None
        from .._core import __version__

        if not endpoint.startswith(("http://", "https://")):
            raise InvalidArgumentError(
                f"otlp={endpoint[:200]!r}: must be a URL such as http://127.0.0.1:4318"
            )
        self._trace = trace
        self._propagator = TraceContextTextMapPropagator()
        self._provider = TracerProvider(resource=Resource.create({"service.name": service_name}))
        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces", timeout=5)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("headrace", __version__)
        # Requests are timed by a clock that is never set; spans want the time of day.
        self._offset_ns = time.time_ns() - time.perf_counter_ns()

    def _ns(self, seconds: float) -> int:
        return int(seconds * 1e9) + self._offset_ns

    def record(self, call: Call, status: int) -> None:
        """The span of a request that has ended just now."""
        trace = self._trace
        parent = None
        if call.traceparent is not None:
            parent = self._propagator.extract({"traceparent": call.traceparent})
        kind = trace.SpanKind.SERVER
        span = self._tracer.start_span(
            call.route or "request",
            parent,
            kind,
            attributes=_attributes(call, status),
            start_time=self._ns(call.start),
        )
        if status >= 500:
            span.set_status(trace.Status(trace.StatusCode.ERROR))
        inside = trace.set_span_in_context(span)
        for name, begin, end in call.phases or ():
            self._tracer.start_span(name, inside, start_time=self._ns(begin)).end(self._ns(end))
        span.end(self._ns(time.perf_counter()))

    def close(self) -> None:
        """Sends what is left."""
        self._provider.shutdown()


def _attributes(call: Call, status: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "http.route": call.route,
        "http.response.status_code": status,
        "headrace.request_id": call.identity,
    }
    if call.principal.id:
        found["headrace.key_id"] = call.principal.id
    if call.model is not None:
        found |= {"gen_ai.provider.name": "headrace", "gen_ai.request.model": call.model}
        found["gen_ai.usage.input_tokens"] = call.prompt_tokens
        operation = _OPERATIONS.get(call.route)
        if operation is not None:
            found["gen_ai.operation.name"] = operation
        if call.generated_tokens:
            found["gen_ai.usage.output_tokens"] = call.generated_tokens
    return found
