"""What the examples have in common: the service they ask, and how they keep what it says."""

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from explaind.views.report import job_html


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model is asked, and where: by default the built-in one in a stack of its own."""
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--path", type=Path, help="the directory of a model, served by a stack of its own")
    whose.add_argument("--url", help="the address of a running service")
    parser.add_argument("--model", default="demo", help="the name of a model of the service")


@contextmanager
def service_of(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """The address of the service and the name of the model that those options mean."""
    if options.url is not None:
        yield options.url, options.model
        return
    name = options.model if options.path is None else "subject"
    with stack_of({} if options.path is None else {name: options.path}) as url:
        yield url, name


@contextmanager
def stack_of(models: dict[str, Path]) -> Iterator[str]:
    """The address of a stack that has the models of those directories, or without any the built-in one."""
    from explaind_jobs.local_stack.stack import EmbeddedStack  # noqa: PLC0415 - only where no service runs
    from explaind_jobs.settings import JobsSettings  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="explaind-example-") as folder:
        catalogue = None
        if models:
            catalogue = Path(folder) / "models.toml"
            tables = [f"[models.{name}]\npath = {json.dumps(str(path.resolve()))}\n" for name, path in models.items()]
            catalogue.write_text("\n".join(tables), encoding="utf-8")
        settings = JobsSettings(redis_url=None, data_dir=Path(folder), models_file=catalogue)
        with EmbeddedStack(settings) as stack:
            yield stack.url


def ended(handle: Any) -> Any:
    """The job behind a handle once it has succeeded, its result with it however large.

    Raises:
        JobError: it failed.
    """
    result = handle.result()
    return handle.job.model_copy(update={"result": result})


def keep(folder: Path, name: str, job: Any) -> None:
    """The job's result as JSON and its report as a page, in that folder."""
    (folder / f"{name}.json").write_text(job.result.model_dump_json(indent=1), encoding="utf-8")
    (folder / f"{name}.html").write_text(job_html(job), encoding="utf-8")
