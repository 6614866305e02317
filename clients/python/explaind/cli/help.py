"""How commands show their help and their mistakes: rich-click's groups of options, and the nearest name everywhere."""

import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import click
from rich.console import Group as Lines
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rich_click import RichCommand, RichContext, RichGroup, RichHelpConfiguration, RichHelpFormatter, RichOptionPanel

from explaind.cli.encoding import fitted
from explaind.cli.terminal import Terminal
from explaind.contract.near_miss import near_miss

NARROW = 60  # columns; below that an option's help stands under its name
_SHORT = 14  # characters of a metavar that stands beside its option
_CONFIG: dict[str, Any] = {
    "theme": "default-box",
    "enable_theme_env_var": False,
    "text_markup": None,  # a description is text: [brackets] in it are no markup
    "options_table_help_sections": ["help", "envvar", "default", "required"],
    "commands_table_column_types": ["name", "help"],
    "commands_before_options": True,
    "padding_usage": (0, 1, 1, 1),
    "padding_epilog": (0, 1),
    "show_arguments": True,
}


class OptionTable(RichOptionPanel):
    """A group of options: names with short values, then what they mean; below one another where there is no room."""

    def get_table(self, command: Any, ctx: Any, formatter: Any) -> Table:
        """The rows of the group."""
        # Imported here: most commands show no help.
        from rich_click.rich_help_rendering import get_help_parameter  # noqa: PLC0415

        narrow = formatter.width < NARROW
        table = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
        if not narrow:
            table.add_column(no_wrap=True, overflow="fold")
        table.add_column()
        for parameter in self.get_objects(command, ctx):
            name, more = _named(parameter, ctx)
            about: list[Any] = [get_help_parameter(cast(Any, parameter), ctx, formatter)]
            if more:
                about.insert(0, Text(more, style="yellow", overflow="fold"))
            if narrow:
                table.add_row(Lines(name, Padding(Lines(*about), (0, 0, 0, 4))))
            else:
                table.add_row(name, Lines(*about))
        return table


class HelpFormatter(RichHelpFormatter):
    """rich-click's, on any encoding; a mistake is one line that a pipe can search, without a box."""

    option_panel_class = OptionTable

    def rich_text(self, text: Any, style: Any = "") -> Any:
        """The text as the output can hold it."""
        return super().rich_text(fitted(text, sys.stdout) if isinstance(text, str) else text, style)

    def write_error(self, e: click.ClickException) -> None:
        """The usage, where help is, and the mistake, to stderr."""
        console = Terminal(stderr=True)
        ctx = e.ctx if isinstance(e, click.UsageError) else None
        if ctx is not None:
            console.print(Text(ctx.get_usage(), style="dim"), soft_wrap=True)
            console.print(Text(f"Help: {ctx.command_path} --help", style="dim"), soft_wrap=True)
        console.print(
            Text.assemble(("Error: ", "bold red"), (e.format_message(), "red")), soft_wrap=not console.is_terminal
        )


class HelpContext(RichContext):
    """rich-click's context with this formatter."""

    formatter_class = HelpFormatter

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("rich_help_config", RichHelpConfiguration(**_CONFIG))
        super().__init__(*args, **kwargs)

    def get_usage(self) -> str:
        """The usage as plain text."""
        formatter = click.HelpFormatter(width=10_000)
        click.Command.format_usage(self.command, self, formatter)
        return formatter.getvalue().rstrip("\n")


class Command(RichCommand):
    """A command with grouped options and a line that can be run as it stands."""

    context_class = HelpContext

    def __init__(self, *args: Any, example: Sequence[str] = (), **options: Any) -> None:
        super().__init__(*args, **options)
        self.example = example

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does; of an option that there is not, the nearest ones are named, the likeliest first."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            known = [name for parameter in self.get_params(ctx) for name in parameter.opts + parameter.secondary_opts]
            hint = near_miss(error.option_name, known, otherwise=())
            near = f" {hint}" if hint.startswith("Did you mean") else ""
            raise click.UsageError(f"There is no option {error.option_name!r}.{near}", ctx) from error

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The example; a line that is too long goes on below, so that it can be copied as it is."""
        if self.example:
            lines = continued(self.example, formatter.width - 2)
            text = "\n".join(["", "Example:", *(f"  {line}" for line in lines)])
            formatter.write(Text(fitted(text, sys.stdout)), soft_wrap=True)
        super().format_epilog(ctx, formatter)


class Group(Command, RichGroup):
    """A group that names the nearest of its commands when there is none of a name."""

    context_class = HelpContext
    command_class = Command
    group_class = type

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; a name of no command is a mistake with a suggestion."""
        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            ctx.fail(f"{ctx.command_path} has no command {args[0]!r}. {self.suggestion(ctx, args[0])}")
        return super().resolve_command(ctx, args)

    def suggestion(self, ctx: click.Context, name: str) -> str:
        """The commands that may have been meant."""
        return near_miss(name, self.list_commands(ctx))


def in_groups(command: RichCommand, groups: Mapping[str, Iterable[str]]) -> None:
    """Shows the options of a command by groups, each a title and the names of its parameters."""
    for title, names in groups.items():
        command.add_panel(OptionTable(title, options=list(names)))


def continued(words: Sequence[str], width: int) -> Iterator[str]:
    """A command line for a POSIX shell, in lines of at most `width` characters where its words allow."""
    line = ""
    for word in _pairs(words):
        if line and len(line) + len(word) + 3 > width:
            yield f"{line} \\"
            line = "  "
        line += f" {word}" if line.strip() else word
    yield line


def _pairs(words: Sequence[str]) -> Iterator[str]:
    """The quoted words, an option together with its value."""
    quoted = [shlex.quote(word) for word in words]
    while quoted:
        option = quoted[0].startswith("--") and len(quoted) > 1 and not quoted[1].startswith("--")
        yield " ".join(quoted[: 1 + option])
        del quoted[: 1 + option]


def _named(parameter: click.Parameter, ctx: click.Context) -> tuple[Text, str]:
    """A parameter as it is written, and its metavar where that is too long to stand beside it."""
    metavar = parameter.make_metavar(ctx)
    if isinstance(parameter, click.Argument):
        return Text(metavar, style="bold cyan"), ""
    flag = isinstance(parameter, click.Option) and (parameter.is_flag or parameter.count)
    names = Text(", ".join(sorted(parameter.opts, key=len, reverse=True)), style="bold cyan")
    if parameter.secondary_opts:
        names.append(f"\n{', '.join(parameter.secondary_opts)}")
    if flag or len(metavar) > _SHORT:
        return names, "" if flag else metavar
    return names.append(f" {metavar}", style="yellow"), ""
