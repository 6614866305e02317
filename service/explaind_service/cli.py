"""The command `explaind api`, also `python -m explaind_service`."""

from pathlib import Path
from types import FrameType
from typing import Any

import click
import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from explaind.cli.help import Command
from explaind_jobs.catalogue import CatalogueError
from explaind_jobs.keys.pepper import PepperError, load_pepper
from explaind_jobs.local_stack.exposure import check_exposure
from explaind_jobs.local_stack.redis_server import StackError
from explaind_jobs.observability.logs import log_to_stderr
from explaind_jobs.observability.tracing import TelemetryError, prepare_telemetry
from explaind_service.app import create_app
from explaind_service.dependencies import Resources
from explaind_service.server_protocol import connections_that_wait
from explaind_service.settings import ServiceSettings


class GracefulServer(uvicorn.Server):
    """uvicorn server that, on shutdown, first ends long polls with a response and event streams with a farewell."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ends waits and streams, so that no response is lost; then stops as usual."""
        app = self.config.app
        resources = getattr(app.state, "resources", None) if isinstance(app, FastAPI) else None
        if isinstance(resources, Resources):
            resources.hub.stop()
        super().handle_exit(sig, frame)


@click.command(cls=Command)
@click.option("--host", envvar="EXPLAIND_HOST", show_envvar=True, help="Address to listen on [default: 127.0.0.1].")
@click.option("--port", envvar="EXPLAIND_PORT", show_envvar=True, type=int, help="Port to listen on [default: 8000].")
@click.option(
    "--models",
    "models_file",
    envvar="EXPLAIND_MODELS_FILE",
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="The models.toml; without one there is the built-in model.",
)
@click.option(
    "--data-dir",
    envvar="EXPLAIND_DATA_DIR",
    show_envvar=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the service may keep files [default: explaind-data].",
)
@click.option("--redis-url", envvar="EXPLAIND_REDIS_URL", show_envvar=True, help="redis://, rediss:// or unix://path.")
def api(**options: Any) -> None:
    """Run the HTTP API. It needs a Redis (or Valkey) and workers; `explaind up` brings all three."""
    settings = _settings(options)
    if settings.redis_url is None:
        raise click.UsageError(
            "No Redis is configured. Set EXPLAIND_REDIS_URL or --redis-url (redis://, rediss:// or unix://), "
            "or run `explaind up`, which brings its own."
        )
    _check_exposure(settings)
    try:
        load_pepper(settings)
        if settings.telemetry:
            prepare_telemetry("explaind-api")
        app = create_app(settings)
    except (CatalogueError, PepperError, TelemetryError) as error:
        raise click.ClickException(str(error)) from error
    log_to_stderr(settings.log_format, settings.log_level)
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="info",
        host=settings.host,
        port=settings.port,
        access_log=False,  # the request context middleware writes its own line, see EXPLAIND_ACCESS_LOG
        server_header=False,
        http=connections_that_wait(settings.receive_s),
        ws="none",
        timeout_graceful_shutdown=settings.drain_s,
    )
    GracefulServer(config).run()


def _settings(options: dict[str, Any]) -> ServiceSettings:
    try:
        return ServiceSettings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = "EXPLAIND_" + "_".join(str(part) for part in first["loc"]).upper()
        raise click.UsageError(f"{name}: {first['msg'].removeprefix('Value error, ')}") from error


def _check_exposure(settings: ServiceSettings) -> None:
    try:
        warning = check_exposure(settings, settings.host, allow_anonymous=settings.allow_anonymous)
    except StackError as error:
        raise click.UsageError(str(error)) from error
    if warning is not None:
        click.secho(f"WARNING: {warning}", fg="red", bold=True, err=True)
