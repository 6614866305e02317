"""Output of a finished job: to a file, as JSON on stdout, or to the terminal."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from explaind.cli.session import exit_with, messages, output, write_json
from explaind.cli.views.job import show_job
from explaind.contract.errors import ExplaindError
from explaind.contract.job import Job, JobState
from explaind.protocol.operations import error_of_job
from explaind.views.report import job_html

_SUFFIXES = (".json", ".html")


def _checked(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    if value is not None and value.suffix.lower() not in _SUFFIXES:
        raise click.BadParameter(f"{value} must end in .json (the job) or .html (the report).", ctx, param)
    if value is not None and not value.absolute().parent.is_dir():
        raise click.BadParameter(f"The folder {value.parent} does not exist.", ctx, param)
    return value


out_option = click.option(
    "--out",
    metavar="FILE",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    callback=_checked,
    help="Write the job to FILE: .json, or .html for a report.",
)


def deliver(
    job: Job[Any],
    *,
    as_json: bool,
    out: Path | None,
    worded: Callable[[ExplaindError], ExplaindError] | None = None,
) -> None:
    """Write an ended job to the requested output.

    A job without a result ends the command with the exit code of its error; its JSON is written all the same.
    """
    if as_json:
        write_json(job_json(job))
    elif job.state is JobState.SUCCEEDED:
        show_job(output(), job)
    if out is not None:
        write_out(job, out)
    if job.state is not JobState.SUCCEEDED:
        error = error_of_job(job)
        exit_with(error if worded is None else worded(error))


def write_out(job: Job[Any], out: Path) -> None:
    """Write the job to a file in the format of its suffix, and report it on stderr."""
    html = out.suffix.lower() == ".html"
    out.write_text(job_html(job) if html else job_json(job) + "\n", encoding="utf-8")
    messages().print(f"Written to {out}", soft_wrap=True)


def job_json(job: Job[Any]) -> str:
    """The job as the service's JSON, indented."""
    return job.model_dump_json(indent=2)
