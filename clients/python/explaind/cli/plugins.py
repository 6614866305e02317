"""Commands of the other parts (`up`, `demo`, `api`, `worker`), found by name, loaded on demand."""

from copy import copy
from importlib.metadata import EntryPoint, entry_points

import click

GROUP = "explaind.commands"


def part_names() -> list[str]:
    """The names of the commands that the installed package lists."""
    return [entry.name for entry in entry_points(group=GROUP)]


def part_command(name: str) -> click.Command | None:
    """The command of that name; if it cannot be loaded, one that says what to install; None if unknown."""
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            return _loaded(entry)
    return None


def _loaded(entry: EntryPoint) -> click.Command:
    try:
        command = entry.load()
    except (ImportError, AttributeError) as error:
        return _missing(entry.name, str(error))
    if not isinstance(command, click.Command):
        raise TypeError(f"The entry point {entry.value} is no click command.")
    if command.name == entry.name:
        return command
    named = copy(command)
    named.name = entry.name  # the help lists a command by the name that it has itself
    return named


def _missing(name: str, reason: str) -> click.Command:
    def run(**_: object) -> None:
        raise click.ClickException(
            f"`explaind {name}` needs parts that cannot be loaded ({reason}). "
            'Install them with: pip install "explaind[all]"'
        )

    return click.Command(
        name,
        callback=run,
        short_help='Needs: pip install "explaind[all]"',
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        context_settings={"ignore_unknown_options": True},
        add_help_option=False,
    )
