"""Commands about jobs: `explaind jobs list|show|wait|follow|result|cancel|delete`."""

from contextlib import closing
from itertools import islice
from pathlib import Path

import click
from pydantic_core import to_json
from rich.table import Table
from rich.text import Text

from explaind.cli.help import Group
from explaind.cli.methods import finish
from explaind.cli.output import job_json, out_option, write_out
from explaind.cli.progress import doing
from explaind.cli.session import (
    Session,
    id_argument,
    json_option,
    messages,
    output,
    pass_session,
    show_error,
    url_option,
    wait_option,
    write_json,
    write_plain,
)
from explaind.cli.views.job import show_job
from explaind.contract.blocks.units import UNIT_KINDS, UnitKind
from explaind.contract.errors import JobNotFinished
from explaind.contract.job import JobPage, JobState
from explaind.protocol.events import JobEvent
from explaind.protocol.operations import error_of_job, result_of
from explaind.protocol.results import by_units
from explaind.views.drawing.text import one_line, progress_text

_STYLES = {JobState.SUCCEEDED: "green", JobState.FAILED: "red", JobState.RUNNING: "cyan"}

job_id_argument = id_argument(
    "job_id",
    "JOB",
    "job",
    "A job that --out wrote to a file has its id there, as `id`; `explaind jobs list` shows the ids of all.",
)
units_option = click.option(
    "--units",
    type=click.Choice(UNIT_KINDS),
    help="Show an attribution by larger units than it was computed by.",
)


@click.command(cls=Group)
def jobs() -> None:
    """Jobs: list, show, wait for, cancel and delete them."""


@jobs.command("list")
@click.option("--state", type=click.Choice([state.value for state in JobState]), help="Only jobs in this state.")
@click.option("--method", metavar="METHOD", help="Only jobs of this method, such as explain/shap.")
@click.option("--model", metavar="MODEL", help="Only jobs of this model.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Most jobs to list.")
@click.option("--estimates", is_flag=True, help="List estimates too.")
@json_option
@url_option
@pass_session
def list_jobs(
    session: Session,
    *,
    state: str | None,
    method: str | None,
    model: str | None,
    limit: int,
    estimates: bool,
    as_json: bool,
    url: str | None,
) -> None:
    """List jobs, newest first."""
    with session.connect(url) as client:
        size = min(limit, 100)
        every = client.jobs.list(state=state, method=method, model=model, estimates=estimates, page_size=size)
        found = list(islice(every, limit + 1))
    page = JobPage(data=found[:limit], has_more=len(found) > limit)
    if as_json:
        write_json(page.model_dump_json(indent=2))
        return
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for head in ("job", "method", "model", "state", "created"):
        table.add_column(head, no_wrap=head == "job", overflow="fold")
    for job in page.data:
        created = job.created_at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        cells = (job.id, job.method, one_line(job.model), created)
        texts = [Text(cell) for cell in cells]
        texts.insert(3, Text(job.state.value, style=_STYLES.get(job.state, "dim")))
        table.add_row(*texts)
    output().print(table if page.data else Text("No jobs.", style="dim"))
    if page.has_more:
        messages().print(f"There are more: raise --limit beyond {limit}.", style="dim")


@jobs.command()
@job_id_argument
@units_option
@json_option
@out_option
@url_option
@pass_session
def show(
    session: Session, *, job_id: str, units: UnitKind | None, as_json: bool, out: Path | None, url: str | None
) -> None:
    """Show a job as it is now."""
    with session.connect(url) as client:
        job = client.jobs.get(job_id)
    if units is not None and job.result is not None:
        job.result = by_units(job.result, units)
    if out is not None:
        write_out(job, out)
    if as_json:
        write_json(job_json(job))
        return
    show_job(output(), job)
    if job.error is not None:
        show_error(messages(), error_of_job(job))


@jobs.command()
@job_id_argument
@wait_option
@json_option
@out_option
@url_option
@pass_session
def wait(
    session: Session, *, job_id: str, wait_timeout: float | None, as_json: bool, out: Path | None, url: str | None
) -> None:
    """Wait for a job and show its result. Ctrl-C cancels the job."""
    with session.connect(url) as client:
        finish(client.jobs.handle(job_id), timeout=wait_timeout, as_json=as_json, out=out)


@jobs.command("follow")
@job_id_argument
@wait_option
@json_option
@url_option
@pass_session
def follow_job(session: Session, *, job_id: str, wait_timeout: float | None, as_json: bool, url: str | None) -> None:
    """Write a line for every event of a job. Ctrl-C leaves the job alone."""
    with session.connect(url) as client, closing(client.jobs.handle(job_id).events(wait_timeout)) as events:
        for event in events:
            if as_json:
                write_json(_event_json(event))
            else:
                write_plain(_event_line(event))


@jobs.command()
@job_id_argument
@units_option
@url_option
@pass_session
def result(session: Session, *, job_id: str, units: UnitKind | None, url: str | None) -> None:
    """Write the result of a job that has ended as JSON."""
    with session.connect(url) as client:
        job = client.jobs.get(job_id)
    if not job.state.terminal:
        raise JobNotFinished(f"Job {job_id} is {job.state.value}.", hint=f"Wait: explaind jobs wait {job_id}")
    found = result_of(job)
    write_json(to_json(by_units(found, units) if units else found, indent=2).decode())


@jobs.command()
@job_id_argument
@json_option
@url_option
@pass_session
def cancel(session: Session, *, job_id: str, as_json: bool, url: str | None) -> None:
    """Ask for a job to be cancelled."""
    with session.connect(url) as client:
        job = client.jobs.cancel(job_id)
    if as_json:
        write_json(job_json(job))
    else:
        write_plain(f"{job.id} {job.state.value}")


@jobs.command()
@job_id_argument
@url_option
@pass_session
def delete(session: Session, *, job_id: str, url: str | None) -> None:
    """Delete the record and the result of a job that has ended."""
    with session.connect(url) as client:
        client.jobs.delete(job_id)
    write_plain(f"{job_id} deleted")


def _event_json(event: JobEvent) -> str:
    job = event.job.model_dump(mode="json", exclude={"result"})
    return to_json({"event": event.kind, "job": job}).decode()


def _event_line(event: JobEvent) -> str:
    job = event.job
    if event.kind == "progress" and event.progress is not None:
        return one_line(progress_text(event.progress))
    return f"{job.id} {one_line(doing(job))}" if job.state is JobState.QUEUED else f"{job.id} {job.state.value}"
