"""Commands of the methods: `explaind <verb> <method>`, derived from the registry."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from explaind._sync.jobs import JobHandle
from explaind.cli.options import field_options, given_fields, json_object
from explaind.cli.output import deliver, job_json, out_option
from explaind.cli.progress import follow
from explaind.cli.session import (
    INTERRUPTED,
    Session,
    json_option,
    messages,
    pass_session,
    show_error,
    url_option,
    write_json,
    write_plain,
)
from explaind.contract.errors import ExplaindError
from explaind.contract.job import Job
from explaind.contract.method import Method
from explaind.contract.registry import all_methods
from explaind.protocol.operations import estimate_path


class VerbGroup(click.Group):
    """The methods of one verb; a command is built when it is asked for."""

    def __init__(self, verb: str) -> None:
        super().__init__(name=verb, help=f"Methods of /{verb}.", short_help=_titles(verb))
        self.verb = verb

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the methods."""
        return [method.name for method in _methods(self.verb)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of one method."""
        found = all_methods().get(f"{self.verb}/{cmd_name}")
        return None if found is None else method_command(found)


def verbs() -> list[str]:
    """The verbs that have methods."""
    return sorted({method.verb for method in all_methods().values()})


def method_command(method: Method[..., Any]) -> click.Command:
    """The command of a method: one option per field, and the options that every method has."""
    schema = method.params_model.model_json_schema()

    @url_option
    @json_option
    @out_option
    @click.option("--params", metavar="FILE|-", help="A file with the whole request as JSON; options override it.")
    @click.option("--no-wait", is_flag=True, help="Submit, write the job's id and leave.")
    @click.option("--timeout", type=click.FLOAT, metavar="SECONDS", help="Longest time to wait for the job.")
    @click.option("--estimate", is_flag=True, help="Say what it would cost, and compute nothing.")
    @click.option("--fresh", is_flag=True, help="Compute the answer although it may be known.")
    @pass_session
    def run(session: Session, **values: Any) -> None:
        body = _body(schema, values)
        with session.connect(values["url"]) as client:
            path = estimate_path(method.path) if values["estimate"] else method.path
            handle = client.submit(path, body, fresh=values["fresh"])
            if values["no_wait"]:
                if values["as_json"]:
                    write_json(job_json(handle.job))
                else:
                    write_plain(handle.id)
                return
            finish(handle, timeout=values["timeout"], as_json=values["as_json"], out=values["out"])

    cite = f"\n\n{method.citation}" if method.citation else ""
    command = click.command(name=method.name, help=f"{method.summary}{cite}", short_help=method.title)(run)
    command.params[:0] = field_options(schema)
    return command


def finish(handle: JobHandle[Any], *, timeout: float | None, as_json: bool, out: Path | None) -> None:
    """Follow a job to its end and deliver it; Ctrl-C asks the service to cancel it."""
    try:
        job = follow(messages(), handle, timeout)
    except KeyboardInterrupt:
        _cancel(handle)
        raise click.exceptions.Exit(INTERRUPTED) from None
    deliver(job, as_json=as_json, out=out)


def _cancel(handle: JobHandle[Any]) -> None:
    console = messages()
    try:
        job: Job[Any] = handle.cancel()
    except ExplaindError as error:
        console.print(f"Interrupted; job {handle.id} could not be cancelled and may go on:", style="red")
        show_error(console, error)
        return
    console.print(f"Interrupted: asked the service to cancel job {handle.id}; it is {job.state.value}.")


def _body(schema: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    whole = {} if values["params"] is None else json_object(values["params"])
    return {**whole, **given_fields(schema, values)}


def _methods(verb: str) -> list[Method[..., Any]]:
    return [method for method in all_methods().values() if method.verb == verb]


def _titles(verb: str) -> str:
    return ", ".join(method.name for method in _methods(verb))
