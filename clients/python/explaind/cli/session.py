"""What the commands share: how to reach the service, where to write, which exit code an error has."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from explaind._sync.client import Client
from explaind.cli.encoding import json_for
from explaind.cli.terminal import Terminal
from explaind.contract.errors import CapacityError, ClientError, ExplaindError, JobError
from explaind.views.drawing.text import shown

PIPE_COLUMNS = 160
JOB_FAILED, BAD_REQUEST, UNREACHABLE, INTERRUPTED = 1, 2, 3, 130


def _connect(url: str | None) -> Client:
    return Client(url)


@dataclass(frozen=True)
class Session:
    """The ground a command stands on; click passes it on as the context's object."""

    connect: Callable[[str | None], Client] = _connect


pass_session = click.make_pass_decorator(Session, ensure=True)

url_option = click.option(
    "--url",
    metavar="URL",
    help="Address of the service.  [default: $EXPLAIND_URL or http://127.0.0.1:8000]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout, and nothing else.")


def output() -> Console:
    """For what was asked for: stdout. In a pipe lines are long rather than cut."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_COLUMNS
    return Terminal(file=sys.stdout, width=width)


def messages() -> Console:
    """For everything else: stderr."""
    return Terminal(file=sys.stderr)


def write_plain(text: str) -> None:
    """This text and a line end to stdout, whatever the terminal."""
    click.echo(text)


def write_json(text: str) -> None:
    """This JSON and a line end to stdout; it is JSON in any encoding."""
    click.echo(json_for(text, sys.stdout))


def exit_code(error: ExplaindError) -> int:
    """1 for a failed job, 2 for a request at fault, 3 when the service cannot be had or is full."""
    if isinstance(error, JobError):
        return JOB_FAILED
    return UNREACHABLE if isinstance(error, CapacityError | ClientError) else BAD_REQUEST


def show_error(console: Console, error: ExplaindError) -> None:
    """What happened, the fields at fault, what to do about it."""
    console.print(Text.assemble((f"{error.title}: ", "bold red"), (shown(error.detail), "red")), soft_wrap=True)
    for field in error.errors:
        if f"{field.pointer}: {field.detail}" == error.detail:
            continue
        where = field.pointer or "/"
        what = f"at {where}" if field.detail == error.detail else f"{where}: {field.detail}"
        console.print(Text(shown(f"  {what}"), style="red"), soft_wrap=True)
    if error.hint:
        console.print(Text(shown(error.hint), style="yellow"), soft_wrap=True)
    if error.request_id:
        console.print(Text(f"Request {shown(error.request_id)}", style="dim"), soft_wrap=True)


def exit_with(error: ExplaindError) -> Any:
    """Show the error on stderr and end the command with its exit code."""
    show_error(messages(), error)
    raise click.exceptions.Exit(exit_code(error))
