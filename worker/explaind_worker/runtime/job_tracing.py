"""Log context and trace span of a job: its span is a child of the request's."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from explaind.contract.job import JobState
from explaind_jobs.observability.log_context import log_context
from explaind_jobs.observability.tracing import trace_id_of
from explaind_jobs.store.records import Claim, Outcome
from explaind_worker.stops import LeaseLost, Released

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

log = logging.getLogger(__name__)


@contextmanager
def job_lines(claim: Claim) -> Iterator[None]:
    """Adds the job, its attempt and the submitting request to every line written within."""
    with log_context(
        job=claim.id,
        attempt=claim.attempt,
        method=claim.method,
        model=claim.model,
        request_id=claim.request_id,
        trace_id=trace_id_of(claim.trace),
    ):
        log.info("began %s on %s, after %.3f s in the queue", claim.method, claim.model, claim.queued_s)
        yield


class JobWatch:
    """Records the outcome of an attempt in the log and in the span, if there is one."""

    def __init__(self, span: "Span | None") -> None:
        self._span = span

    def ended(self, outcome: Outcome) -> Outcome:
        """Records the outcome, and returns it unchanged."""
        timing, code = outcome.timing, outcome.error.code if outcome.error else None
        seconds = timing.seconds if timing and timing.seconds is not None else 0.0
        state = outcome.state.value
        line = "%s after %.3f s" + (f" ({code})" if code else "")
        log.info(line, state, seconds, extra={"state": state, "seconds": round(seconds, 3)})
        if self._span is not None:
            self._span.set_attribute("explaind.state", state)
            self._span.set_attribute("explaind.seconds", seconds)
            self._span.set_attribute("explaind.tokens_evaluated", timing.tokens_evaluated if timing else 0)
            if outcome.state is JobState.FAILED:
                self.failed(code or "failed")
        return outcome

    def left(self, state: str) -> None:
        """Records an attempt without outcome: it was released, or the job belongs to another worker."""
        if self._span is not None:
            self._span.set_attribute("explaind.state", state)

    def failed(self, code: str) -> None:
        """Records a failed attempt by its error code only; the message may quote the request."""
        if self._span is not None:
            from opentelemetry.trace import StatusCode  # noqa: PLC0415 - only with a span

            self._span.set_attribute("error.type", code)
            self._span.set_status(StatusCode.ERROR)


class JobSpans:
    """Opens the span of each job, as a child of the request that submitted it, in whatever process."""

    def __init__(self, enabled: bool) -> None:
        self._tracer: Tracer | None = None
        if enabled:
            from opentelemetry import trace  # noqa: PLC0415 - only if enabled

            self._tracer = trace.get_tracer("explaind_worker")

    @contextmanager
    def watch(self, claim: Claim) -> Iterator[JobWatch]:
        """A span around an attempt if telemetry is on; exceptions passing through end it too."""
        with self._span(claim) as span:
            watch = JobWatch(span)
            try:
                yield watch
            except Released:
                watch.left("released")
                raise
            except LeaseLost:
                watch.left("lost")
                raise
            except Exception as error:
                watch.failed(type(error).__name__)
                raise

    @contextmanager
    def _span(self, claim: Claim) -> "Iterator[Span | None]":
        if self._tracer is None:
            yield None
            return
        from opentelemetry.trace import SpanKind  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        parent = TraceContextTextMapPropagator().extract({"traceparent": claim.trace} if claim.trace else {})
        with self._tracer.start_as_current_span(
            f"job {claim.method}",
            context=parent,
            kind=SpanKind.CONSUMER,
            attributes={
                "explaind.job": claim.id,
                "explaind.method": claim.method,
                "explaind.model": claim.model,
                "explaind.attempt": claim.attempt,
                "explaind.queued_seconds": claim.queued_s,
            },
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield span
