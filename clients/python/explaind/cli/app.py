"""The root of the command line: its commands, and what becomes of errors."""

from typing import Any

import click

from explaind.cli.catalogue import methods, models
from explaind.cli.encoding import fit_outputs
from explaind.cli.files import artifacts, datasets
from explaind.cli.jobs import jobs
from explaind.cli.methods import VerbGroup, verbs
from explaind.cli.plugins import part_command, part_names
from explaind.cli.session import INTERRUPTED, exit_with, messages
from explaind.contract.errors import ExplaindError
from explaind.contract.near_miss import near_miss
from explaind.protocol.config import package_version

_OWN = {"jobs": jobs, "datasets": datasets, "artifacts": artifacts, "models": models, "methods": methods}


class Root(click.Group):
    """The commands of the methods, of jobs and catalogue, and of the parts that are installed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Parts first, then the verbs, then what there is."""
        return [*part_names(), *verbs(), *_OWN]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, built or loaded now."""
        if cmd_name in _OWN:
            return _OWN[cmd_name]
        if cmd_name in verbs():
            return VerbGroup(cmd_name)
        return part_command(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest commands named when there is none of that name."""
        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            hint = near_miss(args[0], self.list_commands(ctx))
            ctx.fail(f"There is no command {args[0]!r}. {hint}")
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """As click does, on outputs that take any text."""
        fit_outputs()
        return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Errors of the tree become a message and an exit code, never a traceback."""
        try:
            return super().invoke(ctx)
        except ExplaindError as error:
            return exit_with(error)
        except KeyboardInterrupt:
            messages().print("Interrupted.", style="dim")
            raise click.exceptions.Exit(INTERRUPTED) from None


@click.group(
    cls=Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog='Try: explaind explain shap --model demo --prompt "3 + 4 =" --target " 7"',
)
@click.version_option(package_version(), prog_name="explaind")
def root() -> None:
    """Why did the language model say that? Ask an explaind service."""


def main() -> None:
    """The command `explaind`."""
    root(prog_name="explaind")
