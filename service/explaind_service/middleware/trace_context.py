"""The trace that a request belongs to, handed on to the job that it makes."""

from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_w3c = TraceContextTextMapPropagator()


def current_trace() -> str | None:
    """The W3C traceparent of the span that is current; None where nothing is traced."""
    carrier: dict[str, str] = {}
    _w3c.inject(carrier)
    return carrier.get("traceparent")
