"""Commands of the methods: `explaind <verb> <method>`, derived from the registry."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from rich.text import Text
from rich_click import RichCommandPanel

from explaind._sync.client import Client
from explaind._sync.jobs import JobHandle
from explaind.cli.help import Command, Group, in_groups
from explaind.cli.output import deliver, job_json, out_option
from explaind.cli.params.datasets import dataset_field, stand_in
from explaind.cli.params.options import (
    JOB,
    METHOD,
    OUTPUT,
    example_words,
    field_groups,
    field_options,
    given_fields,
    json_object,
)
from explaind.cli.params.pointers import by_options
from explaind.cli.params.values import DatasetSource
from explaind.cli.progress import follow
from explaind.cli.session import (
    INTERRUPTED,
    Session,
    json_option,
    messages,
    pass_session,
    show_error,
    url_option,
    wait_option,
    write_json,
    write_plain,
)
from explaind.contract.errors import ExplaindError, InvalidRequest
from explaind.contract.job import Job
from explaind.contract.method import Method
from explaind.contract.registry import all_methods
from explaind.protocol.operations import checked_body, estimate_path

ANY_MODEL = "any"  # stands for the model in a check before there is one
_ABOUT = {
    "explain": "Explain an answer of a model",
    "infer": "Ask a model",
    "evaluate": "Measure how good a model is",
    "train": "Train additions to a model",
}
_MOST_NAMED = 4


class VerbGroup(Group):
    """The methods of one verb; a command is built on demand."""

    def __init__(self, verb: str) -> None:
        names = [method.name for method in _methods(verb)]
        about = _ABOUT.get(verb, f"Methods of {verb}")
        more = f" and {len(names) - _MOST_NAMED} more" if names[_MOST_NAMED:] else ""
        shown = f"{', '.join(names[:_MOST_NAMED])}{more}"
        super().__init__(name=verb, help=f"{about}.", short_help=f"{about}: {shown}.")
        self.verb = verb
        self.add_panel(RichCommandPanel("Methods", commands=names))

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


def verbs_of(name: str) -> list[str]:
    """The commands of the methods of that name: `explain shap` of `shap` and of `explain/shap`."""
    return [f"{m.verb} {m.name}" for m in all_methods().values() if name.strip("/") in {m.name, m.path}]


def method_command(method: Method[..., Any]) -> Command:
    """The command of a method: one option per field, and the options that every method has."""
    schema = method.params_model.model_json_schema()

    @out_option
    @json_option
    @click.option("--params", metavar="FILE|-", help="A file with the whole request as JSON; options override it.")
    @click.option("--estimate", is_flag=True, help="Say what it would cost, and compute nothing.")
    @click.option("--fresh", is_flag=True, help="Compute the answer although it may be known.")
    @click.option("--no-wait", is_flag=True, help="Submit, write the job's id and leave.")
    @wait_option
    @url_option
    @pass_session
    def run(session: Session, **values: Any) -> None:
        request = {} if values["params"] is None else json_object(values["params"])
        request |= given_fields(schema, values)

        def worded(error: ExplaindError) -> ExplaindError:
            return by_options(error, schema["properties"], request)

        try:
            _check(method, request)
            with session.connect(values["url"]) as client:
                body = _completed(client, request)
                path = estimate_path(method.path) if values["estimate"] else method.path
                handle = client.submit(path, body, fresh=values["fresh"])
                if values["no_wait"]:
                    _submitted(handle, as_json=values["as_json"])
                    return
                timeout, as_json, out = values["wait_timeout"], values["as_json"], values["out"]
                finish(handle, timeout=timeout, as_json=as_json, out=out, worded=worded)
        except ExplaindError as error:
            raise worded(error) from error

    cite = f"\n\n{method.citation}" if method.citation else ""
    example = example_words(["explaind", method.verb, method.name], schema, method.example)
    command = Command(
        name=method.name,
        callback=run,
        params=[*field_options(schema), *reversed(getattr(run, "__click_params__", []))],
        help=f"{method.summary}{cite}",
        short_help=method.title,
        example=example,
    )
    groups = field_groups(schema)
    groups[METHOD] += ["params"]
    groups[OUTPUT] += ["out", "as_json", "help"]
    groups[JOB][:0] = ["estimate", "fresh", "no_wait", "wait_timeout", "url"]
    in_groups(command, groups)
    return command


def _submitted(handle: JobHandle[Any], *, as_json: bool) -> None:
    if as_json:
        write_json(job_json(handle.job))
    else:
        write_plain(handle.id)


def _check(method: Method[..., Any], request: Mapping[str, Any]) -> None:
    """Refuses what the service would refuse by its form, before a service is asked or a file uploaded."""
    checked_body(method.path, {"model": ANY_MODEL, **{name: stand_in(value) for name, value in request.items()}})


def _completed(client: Client, request: Mapping[str, Any]) -> dict[str, Any]:
    """The request with a model, and with datasets in the place of files."""
    body = dict(request) if "model" in request else {"model": _only_model(client), **request}
    for name, value in request.items():
        if isinstance(value, DatasetSource):
            try:
                body[name] = dataset_field(client, value, _tell)
            except ExplaindError as error:
                error.errors = []
                error.detail = f"--{name.replace('_', '-')}: {error.detail}"
                raise
    return body


def _only_model(client: Client) -> str:
    """The model of a service that has one.

    Raises:
        InvalidRequest: it has several, or none.
    """
    names = [card.name for card in client.models()]
    if len(names) != 1:
        hint = f"The service has {', '.join(names)}." if names else "The service has no models."
        raise InvalidRequest("--model is missing.", hint=hint)
    _tell(f"Model {names[0]}, the only one of the service")
    return names[0]


def _tell(line: str) -> None:
    messages().print(Text(line, style="dim"), soft_wrap=True)


def finish(
    handle: JobHandle[Any],
    *,
    timeout: float | None,
    as_json: bool,
    out: Path | None,
    worded: Callable[[ExplaindError], ExplaindError] | None = None,
) -> None:
    """Follow a job to its end and deliver it, its error as `worded` writes it; Ctrl-C asks the service to cancel it."""
    try:
        job = follow(messages(), handle, timeout)
    except KeyboardInterrupt:
        _cancel(handle)
        raise click.exceptions.Exit(INTERRUPTED) from None
    deliver(job, as_json=as_json, out=out, worded=worded)


def _cancel(handle: JobHandle[Any]) -> None:
    console = messages()
    try:
        job: Job[Any] = handle.cancel()
    except ExplaindError as error:
        console.print(f"Interrupted; job {handle.id} could not be cancelled and may go on:", style="red")
        show_error(console, error)
        return
    console.print(f"Interrupted: asked the service to cancel job {handle.id}; it is {job.state.value}.")


def _methods(verb: str) -> list[Method[..., Any]]:
    return [method for method in all_methods().values() if method.verb == verb]
