"""State and helpers shared by the commands: service address, outputs, exit codes."""

import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
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

_COMMANDS = {
    "GET /models": "`explaind models`",
    "GET /methods": "`explaind methods`",
    "GET /jobs": "`explaind jobs list`",
    "GET /datasets": "`explaind datasets list`",
    "POST /datasets": "`explaind datasets upload FILE`",
    "GET /artifacts": "`explaind artifacts list`",
    "Client(url)": "--url",
}
_HANDLE = re.compile(r"client\.jobs\.handle\('[^']*'\) or (?=`explaind )")
_CALL = re.compile(r"`?(?:(?:GET|POST) /[a-z]+(?![/\w])|Client\(url\))`?")
_FILE_NAME = re.compile(r"[/\\]|\.[A-Za-z]{2,12}$")


def _connect(url: str | None) -> Client:
    return Client(url)


@dataclass(frozen=True)
class Session:
    """Shared state of the commands (click context object)."""

    connect: Callable[[str | None], Client] = _connect


pass_session = click.make_pass_decorator(Session, ensure=True)

url_option = click.option(
    "--url",
    metavar="URL",
    help="Address of the service.  [default: $EXPLAIND_URL or http://127.0.0.1:8000]",
)
wait_option = click.option(
    "--wait-timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Longest time that this command waits for the job, which goes on (--timeout-s limits the job itself).",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout, and nothing else.")


def id_argument(name: str, metavar: str, prefix: str, of_file: str) -> Callable[[Any], Any]:
    """The argument that takes an id; for a file in its place, `of_file` says what to do with one."""

    def checked(ctx: click.Context, param: click.Parameter, value: str) -> str:
        kind, begin = metavar.lower(), f"{prefix}_"
        if not value.startswith(begin) and (Path(value).is_file() or _FILE_NAME.search(value)):
            raise click.BadParameter(
                f"{value!r} is the name of a file, not the id of a {kind} ({begin}...). {of_file}", ctx, param
            )
        if not value.strip():
            raise click.BadParameter(f"The id of a {kind} begins with {begin}.", ctx, param)
        return value

    return click.argument(name, metavar=metavar, callback=checked)


def output() -> Console:
    """Console for requested output: stdout. In a pipe lines are not truncated."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_COLUMNS
    return Terminal(file=sys.stdout, width=width)


def messages() -> Console:
    """Console for messages: stderr."""
    return Terminal(file=sys.stderr)


def write_plain(text: str) -> None:
    """Write the text and a line end to stdout, whatever the terminal."""
    click.echo(text)


def write_json(text: str) -> None:
    """Write the JSON and a line end to stdout, valid in any encoding."""
    click.echo(json_for(text, sys.stdout))


def exit_code(error: ExplaindError) -> int:
    """1 for a failed job, 2 for an invalid request, 3 if the service is unreachable or full."""
    if isinstance(error, JobError):
        return JOB_FAILED
    return UNREACHABLE if isinstance(error, CapacityError | ClientError) else BAD_REQUEST


def in_commands(text: str) -> str:
    """The text with paths of the API, and calls of the SDK, as the commands that do the same."""
    return _CALL.sub(lambda found: _COMMANDS.get(found[0].strip("`"), found[0]), _HANDLE.sub("", text))


def show_error(console: Console, error: ExplaindError) -> None:
    """What happened, the fields at fault, what to do about it; a hint stays one line, since it may name a command."""
    whole = not console.is_terminal
    title = (f"{error.title}: ", "bold red")
    console.print(Text.assemble(title, (shown(in_commands(error.detail)), "red")), soft_wrap=whole)
    for field in error.errors:
        if f"{field.pointer}: {field.detail}" == error.detail:
            continue
        if field.detail == error.detail:
            what = f"at {field.pointer or '/'}"
        elif field.detail == "Field required":
            what = f"{field.pointer} is missing."
        else:
            what = f"{field.pointer}: {field.detail}" if field.pointer else field.detail
        console.print(Text(shown(f"  {what}"), style="red"), soft_wrap=whole)
    if error.hint:
        console.print(Text(shown(in_commands(error.hint)), style="yellow"), soft_wrap=True)
    if error.request_id:
        console.print(Text(f"Request {shown(error.request_id)}", style="dim"), soft_wrap=True)


def exit_with(error: ExplaindError) -> Any:
    """Show the error on stderr and end the command with its exit code."""
    show_error(messages(), error)
    raise click.exceptions.Exit(exit_code(error))
