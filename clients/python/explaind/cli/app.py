"""Root of the command line: its commands, and the handling of errors."""

from typing import Any

import click
from rich_click import RichCommandPanel

from explaind.cli.catalogue import methods, models
from explaind.cli.encoding import fit_outputs
from explaind.cli.files import artifacts, datasets
from explaind.cli.help import Group
from explaind.cli.jobs import jobs
from explaind.cli.methods import VerbGroup, verbs, verbs_of
from explaind.cli.plugins import part_command, part_names
from explaind.cli.session import INTERRUPTED, exit_with, messages
from explaind.contract.errors import ExplaindError
from explaind.protocol.config import package_version

EXAMPLE = ("explaind", "explain", "shap", "--model", "demo", "--prompt", "3 + 4 =", "--target", " 7")
_OWN = {"jobs": jobs, "datasets": datasets, "artifacts": artifacts, "models": models, "methods": methods}


class Root(Group):
    """Root group: the commands of the methods, of jobs and catalogue, and of the installed parts."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Parts first, then the verbs, then jobs, files and catalogue."""
        return [*part_names(), *verbs(), *_OWN]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, built or loaded on demand."""
        if cmd_name in _OWN:
            return _OWN[cmd_name]
        if cmd_name in verbs():
            return VerbGroup(cmd_name)
        return part_command(cmd_name)

    def suggestion(self, ctx: click.Context, name: str) -> str:
        """The commands that may have been meant; for a method's name, the command of the method."""
        found = verbs_of(name)
        return f"Did you mean {' or '.join(map(repr, found))}?" if found else super().suggestion(ctx, name)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The commands by what they are for."""
        groups = {"Ask and explain": verbs(), "Look after": [*_OWN], "Run the service": part_names()}
        self.panels = [RichCommandPanel(title, commands=names) for title, names in groups.items()]
        super().format_options(ctx, formatter)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """As in click, with outputs that accept any text."""
        fit_outputs()
        return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Turns errors of the contract into a message and an exit code, never a traceback."""
        try:
            return super().invoke(ctx)
        except ExplaindError as error:
            return exit_with(error)
        except KeyboardInterrupt:
            messages().print("Interrupted.", style="dim")
            raise click.exceptions.Exit(INTERRUPTED) from None


@click.command(
    cls=Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    example=EXAMPLE,
)
@click.version_option(package_version(), prog_name="explaind")
def root() -> None:
    """Why did the language model say that? Ask an explaind service."""


def main() -> None:
    """Entry point of the command `explaind`."""
    root(prog_name="explaind")
