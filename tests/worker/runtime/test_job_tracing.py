"""The lines and the span of a job."""

import json
import logging
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from explaind.contract.errors import PromptTooLong
from explaind.contract.job import JobState, Timing
from explaind_jobs.observability.log_context import current_facts
from explaind_jobs.store.records import Claim, Outcome
from explaind_worker.runtime.job_tracing import JobSpans, job_lines
from explaind_worker.stops import LeaseLost, Released

TRACE_ID, PARENT_ID = "a" * 32, "b" * 16
CLAIM = Claim(
    "job_1",
    2,
    "explain/shap",
    "demo",
    b'{"prompt": "secret"}',
    0.25,
    request_id="req_1",
    trace=f"00-{TRACE_ID}-{PARENT_ID}-01",
)
TIMING = Timing(seconds=1.5, tokens_evaluated=64)


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What is exported while this test runs."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    yield exporter
    provider.shutdown()


def only(exporter: InMemorySpanExporter) -> ReadableSpan:
    (span,) = exporter.get_finished_spans()
    return span


def test_lines_tell_the_job() -> None:
    with job_lines(CLAIM):
        assert current_facts() == {
            "job": "job_1",
            "attempt": 2,
            "method": "explain/shap",
            "model": "demo",
            "request_id": "req_1",
            "trace_id": TRACE_ID,
        }
    assert current_facts() == {}


def test_begin_and_end_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), job_lines(CLAIM), JobSpans(False).watch(CLAIM) as watch:
        watch.ended(Outcome(JobState.FAILED, error=PromptTooLong("secret").problem(), timing=TIMING))
    began, ended = caplog.records
    assert began.getMessage() == "began explain/shap on demo, after 0.250 s in the queue"
    assert ended.getMessage() == "failed after 1.500 s (prompt_too_long)"
    assert (vars(ended)["state"], vars(ended)["seconds"]) == ("failed", 1.5)


def test_a_span_is_a_child_of_the_request(exported) -> None:
    with JobSpans(True).watch(CLAIM) as watch:
        outcome = Outcome(JobState.SUCCEEDED, result=b"secret", timing=TIMING)
        assert watch.ended(outcome) is outcome
    span = only(exported)
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE_ID, PARENT_ID)
    assert (span.name, span.kind, span.status.status_code) == (
        "job explain/shap",
        SpanKind.CONSUMER,
        StatusCode.UNSET,
    )
    assert dict(span.attributes or {}) == {
        "explaind.job": "job_1",
        "explaind.method": "explain/shap",
        "explaind.model": "demo",
        "explaind.attempt": 2,
        "explaind.queued_seconds": 0.25,
        "explaind.state": "succeeded",
        "explaind.seconds": 1.5,
        "explaind.tokens_evaluated": 64,
    }


def test_a_failed_jobs_span_has_the_code_alone(exported) -> None:
    with JobSpans(True).watch(CLAIM) as watch:
        watch.ended(Outcome(JobState.FAILED, error=PromptTooLong("secret").problem(), timing=TIMING))
    span = only(exported)
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "prompt_too_long"
    assert "secret" not in span.to_json()


@pytest.mark.parametrize(("stop", "state"), [(Released("x"), "released"), (LeaseLost("x"), "lost")])
def test_an_attempt_without_an_end(exported, stop: Exception, state: str) -> None:
    with pytest.raises(type(stop)), JobSpans(True).watch(CLAIM):
        raise stop
    span = only(exported)
    assert (span.attributes or {})["explaind.state"] == state
    assert span.status.status_code is StatusCode.UNSET


def test_what_passes_through_is_an_error_without_words(exported) -> None:
    with pytest.raises(RuntimeError), JobSpans(True).watch(CLAIM):
        raise RuntimeError("secret")
    span = only(exported)
    assert span.status.status_code is StatusCode.ERROR
    assert json.loads(span.to_json())["events"] == []
    assert "secret" not in span.to_json()


def test_a_job_of_no_traced_request_begins_a_trace(exported) -> None:
    with JobSpans(True).watch(Claim("job_1", 1, "explain/shap", "demo", b"{}", 0.0)):
        pass
    assert only(exported).parent is None


def test_nothing_is_traced_unless_asked_for(exported) -> None:
    with JobSpans(False).watch(CLAIM) as watch:
        watch.ended(Outcome(JobState.SUCCEEDED))
    assert exported.get_finished_spans() == ()
