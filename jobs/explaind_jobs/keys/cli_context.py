"""Context of the key commands: the Redis and the pepper of the service."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from explaind.contract.errors import StoreUnavailable
from explaind_jobs.keys.pepper import FILE_NAME, PepperError, load_pepper
from explaind_jobs.redis_scripts.connection import published_url, redis_from
from explaind_jobs.settings import JobsSettings, settings_mistake
from explaind_jobs.store.job_store import JobStore


@dataclass(frozen=True)
class KeyStore:
    """Where a service stores its keys: Redis and pepper."""

    store: JobStore
    settings: JobsSettings

    def pepper(self) -> bytes:
        """The pepper of the service; a missing one is created, with a message.

        Raises:
            PepperError: no pepper can be used.
        """
        file = self.settings.data_dir.resolve() / FILE_NAME
        made = self.settings.pepper is None and not file.exists()
        pepper = load_pepper(self.settings)
        if made:
            click.echo(f"Made {file}: the service must use this very directory (EXPLAIND_DATA_DIR).", err=True)
        return pepper


@contextmanager
def place_of_keys(redis_url: str | None, data_dir: Path | None) -> Iterator[KeyStore]:
    """The given Redis, or that of the `explaind up` running in the data directory.

    Raises:
        click.ClickException: there is none, it does not answer, or the pepper is invalid.
    """
    given: dict[str, Any] = {"redis_url": redis_url, "data_dir": data_dir}
    try:
        settings = JobsSettings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise click.ClickException(settings_mistake(error)) from error
    folder = settings.data_dir.resolve()
    own = settings.redis_url is None
    if own:
        settings = settings.model_copy(update={"redis_url": published_url(folder), "data_dir": folder})
    if settings.redis_url is None:
        raise click.ClickException(_none(folder))
    try:
        with redis_from(settings) as client:
            yield KeyStore(JobStore(client, settings), settings)
    except StoreUnavailable as error:
        raise click.ClickException(_none(folder) if own else str(error)) from error
    except PepperError as error:
        raise click.ClickException(str(error)) from error


def _none(folder: Path) -> str:
    return (
        f"No explaind runs in {folder}. Start `explaind up` first, or name its --data-dir (EXPLAIND_DATA_DIR), or the "
        "Redis of a deployment (EXPLAIND_REDIS_URL)."
    )
