"""`explaind up` and `explaind demo`: the whole service with one command."""

import json
import shlex
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from explaind.cli.help import Command
from explaind.contract.errors import StoreUnavailable
from explaind.contract.job import Job, JobState
from explaind.contract.registry import find_method
from explaind_jobs.catalogue import CatalogueError
from explaind_jobs.local_stack.redis_server import StackError
from explaind_jobs.local_stack.stack import EmbeddedStack
from explaind_jobs.settings import JobsSettings, settings_mistake

REPORT = "explaind-report-shap.html"

data_dir_option = click.option(
    "--data-dir",
    envvar="EXPLAIND_DATA_DIR",
    show_envvar=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where jobs, logs and locks are kept.",
)
models_option = click.option(
    "--models",
    "models_file",
    envvar="EXPLAIND_MODELS_FILE",
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="The models.toml; without one there is the built-in model.",
)


@click.command(cls=Command)
@click.option("--host", envvar="EXPLAIND_HOST", show_envvar=True, default="127.0.0.1", show_default=True)
@click.option(
    "--port",
    envvar="EXPLAIND_PORT",
    show_envvar=True,
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="0 takes a free one.",
)
@click.option(
    "--allow-anonymous",
    envvar="EXPLAIND_ALLOW_ANONYMOUS",
    show_envvar=True,
    is_flag=True,
    help="Serve beyond this machine although nobody has to show a key.",
)
@data_dir_option
@models_option
def up(host: str, port: int, allow_anonymous: bool, data_dir: Path | None, models_file: Path | None) -> None:
    """Run the whole service here: API, worker and Redis. Ctrl-C stops it."""
    began = time.monotonic()
    with _stack(host, port, data_dir, models_file, allow_anonymous=allow_anonymous) as stack:
        click.echo(_ready_text(stack, time.monotonic() - began))
        stack.wait()


@click.command(cls=Command)
@data_dir_option
def demo(data_dir: Path | None) -> None:
    """Start the service, explain one answer of the built-in model, show it, and stop again."""
    with (
        tempfile.TemporaryDirectory(prefix="explaind-demo-") as folder,
        _stack("127.0.0.1", 0, data_dir or Path(folder), None) as stack,
    ):
        show_demo(stack.url, Path(REPORT))
        click.echo("Stopping …", err=True)


def show_demo(url: str, report: Path) -> None:
    """Send one job to the service at `url`, follow it, show its result, and write its report.

    Raises:
        ExplaindError: the job failed.
    """
    # Imported here, since only this command shows results.
    from explaind._sync.client import Client  # noqa: PLC0415
    from explaind.cli.progress import follow  # noqa: PLC0415
    from explaind.cli.session import output  # noqa: PLC0415
    from explaind.cli.views.job import show_job  # noqa: PLC0415
    from explaind.protocol.operations import error_of_job  # noqa: PLC0415
    from explaind.views.report import job_html  # noqa: PLC0415

    method = find_method("explain/shap")
    console = output()
    click.echo(f"The same request with curl:\n  {curl_line(url, method.path, method.example)}\n")
    with Client(url) as client:
        handle = client.submit(method.path, method.example)
        job = follow(console, handle) if console.is_terminal else handle.wait(on_progress=_progress_line())
    if job.state is not JobState.SUCCEEDED:
        raise error_of_job(job)
    show_job(console, job)
    report.write_text(job_html(job), encoding="utf-8")
    click.echo(f"\nThe report is in {report.absolute()}: open it in a browser.")
    click.echo("Next: `explaind up` keeps the service running; `explaind explain shap --help` asks it.")


def _progress_line() -> Callable[[Job[Any]], None]:
    """Prints a job's progress, one line per change, where there is no terminal for a progress bar."""
    from explaind.views.drawing.text import progress_text  # noqa: PLC0415

    shown: set[str] = set()

    def show(job: Job[Any]) -> None:
        line = job.state.value if job.progress is None else progress_text(job.progress)
        if line not in shown:
            shown.add(line)
            click.echo(f"  {line}")

    return show


def _ready_text(stack: EmbeddedStack, seconds: float) -> str:
    example = find_method("explain/shap").example
    return "\n".join(
        [
            f"explaind is ready ({seconds:.1f} s).",
            f"  API   {stack.url}",
            f"  Docs  {stack.url}/docs",
            f"  Data  {stack.data_dir} (logs in logs/)",
            "Try:",
            f"  {curl_line(stack.url, 'explain/shap', example, with_key=_asks_for_keys(stack))}",
            "Ctrl-C stops it.",
        ]
    )


def curl_line(url: str, method: str, request: dict[str, Any], *, with_key: bool = False) -> str:
    """The curl command that sends that request and waits for the result, with the API key from the environment."""
    body = shlex.quote(json.dumps(request, ensure_ascii=False))
    key = ' -H "Authorization: Bearer $EXPLAIND_API_KEY"' if with_key else ""
    return f"curl -s {url}/{method}{key} -H 'Content-Type: application/json' -H 'Prefer: wait=30' -d {body}"


def _warn(warning: str) -> None:
    click.secho(f"WARNING: {warning}", err=True, fg="yellow", bold=True)


def _asks_for_keys(stack: EmbeddedStack) -> bool:
    try:
        return stack.asks_for_keys
    except StoreUnavailable:  # Redis began to refuse just now; the command with a key works in any case
        return True


@contextmanager
def _stack(
    host: str, port: int, data_dir: Path | None, models_file: Path | None, *, allow_anonymous: bool = False
) -> Iterator[EmbeddedStack]:
    """A running stack; Ctrl-C and SIGTERM stop it in order, and errors become one-line messages."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    given: dict[str, Any] = {"data_dir": data_dir, "models_file": models_file}
    try:
        settings = JobsSettings(**{name: value for name, value in given.items() if value is not None})
        click.echo("Starting explaind …", err=True)
        with EmbeddedStack(settings, host=host, port=port, allow_anonymous=allow_anonymous, tell=_warn) as stack:
            for warning in stack.warnings:
                _warn(warning)
            yield stack
    except KeyboardInterrupt:
        click.echo("\nexplaind has stopped.", err=True)
    except ValidationError as error:
        raise click.ClickException(settings_mistake(error)) from error
    except (StackError, CatalogueError) as error:
        raise click.ClickException(str(error)) from error
    finally:
        signal.signal(signal.SIGTERM, before)
