"""OpenTelemetry traces, exported over OTLP/HTTP as the OTEL_* variables say; off unless the settings enable them.

OpenTelemetry is imported inside the functions only: it comes with the extra `telemetry`.
"""

import os

SERVICE_NAME = "OTEL_SERVICE_NAME"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
DEFAULT_ENDPOINT = "http://localhost:4318"
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"


class TelemetryError(RuntimeError):
    """EXPLAIND_TELEMETRY is on, but export is impossible; the message says why and what to do."""


def prepare_telemetry(service: str) -> None:
    """Checks that this process can export, and sets defaults for unset OTEL_* variables: service name and endpoint.

    Raises:
        TelemetryError: the extra is not installed, or a protocol other than OTLP/HTTP is configured.
    """
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter  # noqa: PLC0415
        import opentelemetry.sdk.trace  # noqa: F401, PLC0415
    except ImportError as error:
        raise TelemetryError(
            "EXPLAIND_TELEMETRY is on, but OpenTelemetry's SDK is not installed. "
            "Install it (pip install 'explaind[telemetry]'), or unset the variable."
        ) from error
    asked = next((os.environ[name] for name in PROTOCOLS if os.environ.get(name)), PROTOCOL)
    if asked != PROTOCOL:
        raise TelemetryError(f"explaind exports traces by {PROTOCOL}, not {asked}: unset {' and '.join(PROTOCOLS)}.")
    if "service.name=" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        os.environ.setdefault(SERVICE_NAME, service)
    if not os.environ.get(TRACES_ENDPOINT):
        os.environ.setdefault(ENDPOINT, DEFAULT_ENDPOINT)


def start_tracing(service: str) -> None:
    """Sets up the export of this process's spans, unless OTEL_* disable it or a provider is set up already.

    Raises:
        TelemetryError: as `prepare_telemetry`.
    """
    prepare_telemetry(service)
    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    if os.environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() == "none":
        return
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    provider = TracerProvider()  # sends its remaining spans at exit
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def trace_id_of(trace: str | None) -> str | None:
    """The trace id of a W3C traceparent."""
    parts = (trace or "").split("-")
    return parts[1] if len(parts) >= 4 else None
