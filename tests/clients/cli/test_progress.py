"""What is shown of a job while it is followed."""

import io
import time

import pytest
from rich.console import Console

from explaind._sync.jobs import JobHandle
from explaind.cli.progress import Pace, counted, doing, follow
from explaind.contract.job import Job, Progress


def progress(done: int, phase: str = "evaluating") -> Progress:
    return Progress(phase=phase, done=done, total=16_000, unit="coalitions")


def test_the_pace_is_of_the_phase(clock) -> None:
    pace = Pace(clock)
    assert pace.rate(progress(100)) is None
    clock.now += 0.5
    assert pace.rate(progress(200)) is None, "too early to tell"
    clock.now += 1.5
    assert pace.rate(progress(500)) == 200
    assert pace.rate(progress(0, "loading")) is None, "another phase has its own"
    clock.now += 4
    assert pace.rate(progress(10, "loading")) == 2.5


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        (None, "8,000/16,000 coalitions"),
        (2.5, "8,000/16,000 coalitions  2.5/s"),
        (1234.5, "8,000/16,000 coalitions  1,234/s"),
    ],
)
def test_how_far_and_how_fast(rate: float | None, said: str) -> None:
    assert counted(progress(8000), rate) == said


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "queued"),
        ({"queue_position": 0, "starts_in_s": 0.2}, "queued, starts in about 0 s"),
        ({"queue_position": 3, "starts_in_s": 42.4}, "queued behind 3, starts in about 42 s"),
        ({"queue_position": 3, "starts_in_s": 9000}, "queued behind 3, starts in about 2.5 h"),
        ({"state": "running"}, "running"),
        ({"state": "running", "progress": progress(1)}, "evaluating"),
        ({"state": "cancelling", "progress": progress(1)}, "cancelling"),
    ],
)
def test_what_the_job_does(job_json, fields, said: str) -> None:
    assert doing(Job.model_validate({**job_json("queued"), **fields})) == said


def test_a_terminal_sees_it_move(client, script, says_job, attribution_json) -> None:
    running = says_job("running", progress=progress(8).model_dump())
    script.says(running, says_job(result=attribution_json))
    screen = io.StringIO()
    expected = ["queued behind 4", "evaluating"]

    def until_shown(_: float) -> None:
        said, end = expected.pop(0), time.monotonic() + 10
        while said not in screen.getvalue():
            assert time.monotonic() < end, screen.getvalue()
            time.sleep(0.01)

    client.driver.sleep = until_shown
    handle = JobHandle(client.driver, Job.model_validate_json(says_job("queued", queue_position=4).content))
    assert follow(Console(file=screen, force_terminal=True, width=120), handle).state == "succeeded"
    assert expected == []
