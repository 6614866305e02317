"""Before anything is exported: is it possible, and where to."""

import sys

import pytest

from explaind_jobs.observability import tracing
from explaind_jobs.observability.tracing import TelemetryError, prepare_telemetry, trace_id_of


@pytest.fixture(autouse=True)
def _no_otel(monkeypatch: pytest.MonkeyPatch) -> None:
    names = (tracing.SERVICE_NAME, tracing.ENDPOINT, tracing.TRACES_ENDPOINT, *tracing.PROTOCOLS)
    for name in (*names, "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.setenv(name, "")  # so that what is set here is undone
        monkeypatch.delenv(name)


def test_what_is_left_open_is_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    prepare_telemetry("explaind-worker")
    assert os.environ["OTEL_SERVICE_NAME"] == "explaind-worker"
    assert os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://localhost:4318"


def test_what_was_said_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=mine")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4318/v1/traces")
    prepare_telemetry("explaind-worker")
    assert "OTEL_SERVICE_NAME" not in os.environ
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" not in os.environ


def test_a_missing_extra_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(TelemetryError, match=r"pip install 'explaind\[telemetry\]'"):
        prepare_telemetry("explaind-worker")


def test_another_protocol_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(TelemetryError, match="not grpc"):
        prepare_telemetry("explaind-worker")


@pytest.mark.parametrize(
    ("trace", "trace_id"),
    [(None, None), ("", None), ("nonsense", None), ("00-" + "a" * 32 + "-" + "b" * 16 + "-01", "a" * 32)],
)
def test_the_trace_id(trace: str | None, trace_id: str | None) -> None:
    assert trace_id_of(trace) == trace_id
