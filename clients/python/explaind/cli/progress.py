"""Live progress of a job."""

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Display

from explaind._sync.jobs import JobHandle
from explaind.cli.encoding import is_unicode
from explaind.contract.job import Job, JobState, Progress
from explaind.views.drawing.text import counted

# Before that a rate would mostly reflect the start.
FIRST_RATE_S = 1.0


def follow(console: Console, handle: JobHandle[Any], timeout: float | None = None) -> Job[Any]:
    """Wait until the job has ended, in whatever state, and show its progress meanwhile.

    Raises:
        WaitTimeout: it had not ended after `timeout` seconds; it goes on.
    """
    columns = (
        SpinnerColumn("dots" if is_unicode(console.file) else "line"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=32),
        TextColumn("{task.fields[count]}", markup=False),
        TimeElapsedColumn(),
    )
    with Display(*columns, console=console, transient=True, disable=not console.is_terminal) as display:
        task = display.add_task("sending", total=None, count="")
        pace = Pace()
        return handle.wait(timeout, lambda job: _advance(display, task, job, pace))


class Pace:
    """Rate of progress in the current phase of a job."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._phase: str | None = None
        self._began, self._first = 0.0, 0

    def rate(self, now: Progress) -> float | None:
        """Units per second since the phase was first seen; None while unknown."""
        if now.phase != self._phase or now.done < self._first:
            self._phase, self._began, self._first = now.phase, self._clock(), now.done
        seconds = self._clock() - self._began
        return (now.done - self._first) / seconds if seconds >= FIRST_RATE_S and now.done > self._first else None


def doing(job: Job[Any]) -> str:
    """The job's current activity, in a few words."""
    if job.state is JobState.QUEUED:
        place = f"queued behind {job.queue_position}" if job.queue_position else "queued"
        return place if job.starts_in_s is None else f"{place}, starts in {_about(job.starts_in_s)}"
    return job.progress.phase if job.progress and job.state is JobState.RUNNING else job.state.value


def _about(seconds: float) -> str:
    if seconds < 90:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def _advance(display: Display, task: TaskID, job: Job[Any], pace: Pace) -> None:
    now = job.progress
    if now is None:
        display.update(task, description=doing(job), total=None, count="")
        return
    count = counted(now, pace.rate(now))
    display.update(task, description=doing(job), completed=now.done, total=now.total, count=count)
