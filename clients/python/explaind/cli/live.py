"""A job's progress, live."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from explaind.calls import JobHandle
from explaind.contract.job import Job, JobState


def follow(console: Console, handle: JobHandle[Any], timeout: float | None = None) -> Job[Any]:
    """Wait until the job has ended, however it ends, and show on the way how far it is.

    Raises:
        WaitTimeout: it had not ended after `timeout` seconds; it goes on.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=32),
        TextColumn("{task.fields[count]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("sending", total=None, count="")
        return handle.wait(timeout, lambda job: _advance(progress, task, job))


def _advance(progress: Progress, task: TaskID, job: Job[Any]) -> None:
    now = job.progress
    if job.state is JobState.QUEUED:
        ahead = job.queue_position
        description = "queued" if not ahead else f"queued behind {ahead}"
    else:
        description = now.phase if now and job.state is JobState.RUNNING else job.state.value
    if now is None:
        progress.update(task, description=description, total=None, count="")
        return
    total = "" if now.total is None else f"/{now.total:,}"
    progress.update(
        task,
        description=description,
        completed=now.done,
        total=now.total,
        count=f"{now.done:,}{total} {now.unit}",
    )
