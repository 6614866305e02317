"""Whatever a method does becomes an outcome."""

import logging
from collections.abc import Callable

import pytest

from explaind.contract.errors import PromptTooLong, StoreUnavailable
from explaind.contract.job import JobState, Progress, Timing
from explaind_jobs.store.records import Claim, LeaseStatus, Outcome
from explaind_worker.runtime.job_control import JobControl
from explaind_worker.runtime.outcome import outcome_of, patiently, persist, timed
from explaind_worker.stops import Cancelled, LeaseLost, Released

CLAIM = Claim("job_1", 1, "explain/shap", "demo", b"{}", 0.25)


class NoBook:
    def progress(self, job_id: str, attempt: int, progress: Progress) -> LeaseStatus:
        return LeaseStatus.HELD


def control() -> JobControl:
    return JobControl(CLAIM, NoBook(), deadline_s=60)


def raising(error: BaseException) -> Callable[[Claim, JobControl], Outcome]:
    def run(claim: Claim, control: JobControl) -> Outcome:
        raise error

    return run


def test_an_error_of_the_tree_is_the_jobs_problem() -> None:
    outcome = outcome_of(raising(PromptTooLong.at("/prompt", "Too long.")), CLAIM, control())
    assert outcome.state is JobState.FAILED
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.instance) == ("prompt_too_long", "/jobs/job_1")
    assert outcome.error.errors[0].pointer == "/prompt"


def test_a_cancelled_job_is_cancelled() -> None:
    assert outcome_of(raising(Cancelled()), CLAIM, control()).state is JobState.CANCELLED


@pytest.mark.parametrize("order", [Released, LeaseLost])
def test_a_job_that_is_not_ours_to_end_has_no_outcome(order: type[Exception]) -> None:
    with pytest.raises(order):
        outcome_of(raising(order()), CLAIM, control())


def test_running_out_of_memory_may_be_tried_again() -> None:
    outcome = outcome_of(raising(MemoryError()), CLAIM, control())
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.retryable) == ("out_of_memory", True)


def test_the_unforeseen_is_logged_without_its_message(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        outcome = outcome_of(raising(KeyError("the secret prompt")), CLAIM, control())
    assert outcome.error is not None
    assert outcome.error.code == "internal_error"
    assert "job_1" in str(outcome.error.hint)
    assert "KeyError" in caplog.text
    assert "job_1" in caplog.text
    assert "test_outcome.py" in caplog.text
    assert "secret" not in caplog.text + outcome.error.model_dump_json()


def test_missing_times_are_filled_in() -> None:
    ended = timed(Outcome(JobState.SUCCEEDED, result=b"{}"), CLAIM, control())
    assert ended.timing is not None
    assert ended.timing.queued_s == 0.25
    assert ended.timing.seconds is not None
    own = Outcome(JobState.SUCCEEDED, timing=Timing.model_validate({"seconds": 7.0, "forwards": 3}))
    timing = timed(own, CLAIM, control()).timing
    assert timing is not None
    assert (timing.seconds, timing.forwards, timing.queued_s) == (7.0, 3, 0.25)


def test_the_end_is_stored_as_soon_as_the_store_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explaind_worker.runtime.outcome.FIRST_DELAY_S", 0.001)
    answers = iter([False, False, True])

    def call() -> str:
        if not next(answers):
            raise StoreUnavailable("down")
        return "finished"

    assert persist(call) == "finished"


def test_the_start_waits_for_the_store_and_says_why_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("explaind_worker.runtime.outcome.MAX_DELAY_S", 0.001)
    troubles = iter(["full", "full", "full", "away"])

    def call() -> str:
        for trouble in troubles:
            raise StoreUnavailable(trouble, hint="Make room.")
        return "there"

    assert patiently(call) == "there"
    assert [record.message for record in caplog.records] == [
        "the worker waits: full Make room.",
        "the worker waits: away Make room.",
    ]


def test_what_ends_the_job_ends_its_waiting_too() -> None:
    tries = []

    def call() -> None:
        tries.append(1)
        raise StoreUnavailable("full")

    def check() -> None:
        raise Cancelled("job")

    with pytest.raises(Cancelled):
        persist(call, check=check)
    assert len(tries) == 1


def test_persistence_ends() -> None:
    def call() -> None:
        raise StoreUnavailable("down")

    with pytest.raises(StoreUnavailable):
        persist(call, limit_s=0)
