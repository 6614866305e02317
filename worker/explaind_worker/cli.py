"""`explaind worker`: a worker in this process, for the Redis at EXPLAIND_REDIS_URL."""

import sys
import warnings
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from explaind.cli.help import Command
from explaind.contract.errors import StoreUnavailable
from explaind_jobs.catalogue import Catalogue, CatalogueError
from explaind_jobs.local_stack.child_process import watch_parent
from explaind_jobs.observability.logs import log_to_stderr
from explaind_jobs.observability.tracing import TelemetryError, prepare_telemetry
from explaind_jobs.redis_scripts.connection import redis_from
from explaind_jobs.redis_scripts.refusals import SILENT, refusal_of
from explaind_jobs.settings import JobsSettings, settings_mistake
from explaind_jobs.store.job_store import JobStore
from explaind_worker.runtime.worker_names import names_given


@click.command(cls=Command)
@click.option("--redis-url", envvar="EXPLAIND_REDIS_URL", help="redis://, rediss:// or unix://path?db=0.")
@click.option("--queues", envvar="EXPLAIND_QUEUES", default="default", show_default=True, help="Comma-separated.")
@click.option(
    "--slots",
    envvar="EXPLAIND_SLOTS",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    help="Jobs at a time.",
)
@click.option(
    "--models",
    "models_file",
    envvar="EXPLAIND_MODELS_FILE",
    type=click.Path(path_type=Path),
    help="The models.toml.",
)
@click.option(
    "--data-dir",
    envvar="EXPLAIND_DATA_DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the lock that makes this worker's name is kept.  [default: explaind-data]",
)
@click.option("--check", is_flag=True, help="Only say whether the worker of this host and data directory lives.")
def worker(
    *, redis_url: str | None, queues: str, slots: int, models_file: Path | None, data_dir: Path | None, check: bool
) -> None:
    """Take jobs from the queue and compute them, until Ctrl-C or SIGTERM.

    With --check: exit 0 if a worker sends heartbeats, else 1 and the reason; for health checks.
    """
    given = {"redis_url": redis_url, "models_file": models_file, "data_dir": data_dir}
    settings = _settings({name: value for name, value in given.items() if value is not None})
    if check:
        click.echo(f"{_beating(settings)} beats.")
        return
    catalogue = _catalogue(settings)
    _require_store(settings)
    _require_telemetry(settings)
    names = [name for name in (part.strip() for part in queues.split(",")) if name]
    if not names:
        raise click.BadParameter("names no queue.", param_hint="--queues")
    watch_parent()
    log_to_stderr(settings.log_format, settings.log_level)
    sys.exit(_work(settings, catalogue, names, slots))


def _work(settings: JobsSettings, catalogue: Catalogue, queues: list[str], slots: int) -> int:
    # Imported here, so that `explaind --help` needs no Celery.
    from celery.exceptions import SecurityWarning  # noqa: PLC0415

    from explaind_worker.runtime.lazy_runner import LazyRunner  # noqa: PLC0415
    from explaind_worker.runtime.worker import build_worker  # noqa: PLC0415

    # Celery warns against running as root with pickled messages; this worker accepts JSON only.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    try:
        return build_worker(settings, LazyRunner(settings, catalogue), queues=queues, slots=slots).start()
    except (OSError, StoreUnavailable) as error:
        raise click.ClickException(str(error)) from error


def _settings(given: dict[str, Any]) -> JobsSettings:
    try:
        return JobsSettings(**given)
    except ValidationError as error:
        raise click.ClickException(settings_mistake(error)) from error


def _catalogue(settings: JobsSettings) -> Catalogue:
    try:
        return Catalogue.load(settings.models_file)
    except CatalogueError as error:
        raise click.ClickException(str(error)) from error


def _beating(settings: JobsSettings) -> str:
    names = names_given(settings.data_dir)
    if not names:
        raise click.ClickException(f"No worker of this host has run with the data directory {settings.data_dir}.")
    try:
        with redis_from(settings) as client:
            live = {state.name for state in JobStore(client, settings).workers()}
    except StoreUnavailable as error:
        raise click.ClickException(str(error)) from error
    beating = [name for name in names if name in live]
    if not beating:
        raise click.ClickException(
            f"No heartbeat of {', '.join(names)} in Redis: the worker stopped, hangs or still starts."
        )
    return ", ".join(beating)


def _require_telemetry(settings: JobsSettings) -> None:
    try:
        if settings.telemetry:
            prepare_telemetry("explaind-worker")
    except TelemetryError as error:
        raise click.ClickException(str(error)) from error


def _require_store(settings: JobsSettings) -> None:
    try:
        client = redis_from(settings)
    except StoreUnavailable as error:
        raise click.ClickException(str(error)) from error
    with client:
        try:
            JobStore(client, settings).check_writable()
        except StoreUnavailable as error:
            refusal = refusal_of(error)
            if refusal is SILENT:
                raise click.ClickException(
                    "Redis does not answer at EXPLAIND_REDIS_URL. Is it running, and are host, port and password right?"
                ) from error
            if not refusal.passes:  # the worker waits for refusals that pass
                raise click.ClickException(str(error)) from error
