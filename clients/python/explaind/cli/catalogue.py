"""Commands about the catalogue: `explaind models`, `explaind methods`."""

import click
from rich.table import Table
from rich.text import Text

from explaind.cli.help import Command
from explaind.cli.session import Session, json_option, output, pass_session, url_option, write_json
from explaind.contract.catalogue import MethodList, ModelCard, ModelList
from explaind.views.drawing.text import one_line

_STATES = {"ready": "green", "loading": "yellow", "cold": "dim"}


@click.command(cls=Command)
@json_option
@url_option
@pass_session
def models(session: Session, as_json: bool, url: str | None) -> None:
    """List the models of the service."""
    with session.connect(url) as client:
        found = client.models()
    if as_json:
        write_json(ModelList(data=found).model_dump_json(indent=2))
        return
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for head in ("model", "state", "dtype", "prompt tokens", "source", "description"):
        table.add_column(head, justify="right" if head == "prompt tokens" else "left")
    for card in found:
        dtype = f"{card.dtype} {card.quantization}" if card.quantization else card.dtype
        table.add_row(
            Text(card.name, style="bold"),
            Text(card.state, style=_STATES[card.state]),
            Text(dtype),
            f"{_longest_prompt(card):,}",
            Text(one_line(card.source)),
            Text(one_line(card.description)),
        )
    output().print(table)


@click.command(cls=Command)
@click.argument("method", required=False)
@json_option
@url_option
@pass_session
def methods(session: Session, method: str | None, as_json: bool, url: str | None) -> None:
    """List the methods of the service; with METHOD, such as explain/shap, show its schemas as JSON."""
    with session.connect(url) as client:
        if method is not None:
            write_json(client.method(method).model_dump_json(indent=2))
            return
        found = client.methods()
    if as_json:
        write_json(MethodList(data=found).model_dump_json(indent=2))
        return
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("method", no_wrap=True, style="bold")
    table.add_column("what it tells")
    for card in found:
        table.add_row(Text(card.path.strip("/")), Text(one_line(card.summary)))
    output().print(table)


def _longest_prompt(card: ModelCard) -> int:
    """Tokens of the longest prompt: as the operator says, and as the model's context holds."""
    most = card.limits.max_prompt_tokens
    return most if card.context is None else min(most, card.context)
