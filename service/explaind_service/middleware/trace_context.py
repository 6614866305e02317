"""Trace context of a request, passed on to its job."""

from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_w3c = TraceContextTextMapPropagator()


def current_trace() -> str | None:
    """The W3C traceparent of the current span; None without tracing."""
    carrier: dict[str, str] = {}
    _w3c.inject(carrier)
    return carrier.get("traceparent")
