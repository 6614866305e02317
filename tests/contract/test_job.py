import pytest

from explaind.contract.job import Job, JobState

JOB = {
    "id": "job_1", "method": "explain/shap", "model": "demo", "state": "queued",
    "created_at": "2026-01-01T00:00:00Z", "links": {"self": "a", "result": "b", "report": "c", "cancel": "d"},
}  # fmt: skip


@pytest.mark.parametrize("state", JobState)
def test_terminal_states(state):
    assert state.terminal == (state not in {"queued", "running", "cancelling"})


def test_a_newer_service_may_send_more():
    assert Job[dict].model_validate({**JOB, "of_the_future": 1}).state is JobState.QUEUED
