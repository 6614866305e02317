"""Outcome of a job: converts results and exceptions into an Outcome, and stores it with retries."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from explaind.contract.errors import ExplaindError, InternalError, OutOfMemory, StoreUnavailable
from explaind.contract.job import JobState, Timing
from explaind_jobs.observability.logs import described
from explaind_jobs.store.records import Claim, Outcome
from explaind_worker.models.device_errors import DevicePoisoned
from explaind_worker.runtime.job_control import JobControl
from explaind_worker.stops import Cancelled, LeaseLost, Released

PERSIST_S = 600.0
FIRST_DELAY_S = 0.1
MAX_DELAY_S = 2.0

T = TypeVar("T")

log = logging.getLogger(__name__)


def outcome_of(run: Callable[[Claim, JobControl], Outcome], claim: Claim, control: JobControl) -> Outcome:
    """Run a job and convert its result or exception into an outcome.

    Raises:
        Released, LeaseLost: there is no outcome, since another worker will end the job.
        DevicePoisoned: likewise, as this process is broken.
    """
    try:
        return run(claim, control)
    except Cancelled:
        return Outcome(JobState.CANCELLED)
    except (Released, LeaseLost, DevicePoisoned):
        raise
    except ExplaindError as error:
        return failed(claim, error)
    except MemoryError:
        return failed(claim, OutOfMemory("The worker ran out of memory.", hint="Ask for less, or try again later."))
    except Exception as error:
        log.error("%s (%s) failed: %s", claim.id, claim.method, described(error))
        internal = InternalError(
            "Something went wrong inside explaind.", hint=f"Please report this and quote {claim.id}."
        )
        return failed(claim, internal)


def failed(claim: Claim, error: ExplaindError) -> Outcome:
    """The outcome of a job that failed with that error."""
    error.instance, error.request_id = f"/jobs/{claim.id}", claim.request_id
    return Outcome(JobState.FAILED, error=error.problem())


def timed(outcome: Outcome, claim: Claim, control: JobControl) -> Outcome:
    """The outcome with its timing filled in, if the method left it out."""
    timing = outcome.timing or Timing.model_validate({})
    missing = {"queued_s": claim.queued_s, "seconds": control.seconds}
    known = {name: value for name, value in missing.items() if getattr(timing, name) is None}
    return replace(outcome, timing=timing.model_copy(update=known))


def patiently(call: Callable[[], T]) -> T:
    """Make an idempotent store call until it succeeds, without limit, logging the reason of the wait."""
    told = ""
    while True:
        try:
            return call()
        except StoreUnavailable as error:
            if error.detail != told:
                log.warning("the worker waits: %s", error)
            told = error.detail
            time.sleep(MAX_DELAY_S)


def _go_on() -> None:
    """Default of `check`: never ends the retries."""


def persist(call: Callable[[], T], *, limit_s: float = PERSIST_S, check: Callable[[], None] = _go_on) -> T:
    """Make an idempotent store call until it succeeds, for at most `limit_s` seconds.

    Before each retry `check` is called, and may raise to end them.
    """
    deadline, delay = time.monotonic() + limit_s, FIRST_DELAY_S
    while True:
        try:
            return call()
        except StoreUnavailable:
            if time.monotonic() + delay > deadline:
                raise
            check()
            time.sleep(delay)
            delay = min(delay * 1.6, MAX_DELAY_S)
