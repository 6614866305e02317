"""Terminal view of an attribution: the coloured prompt, the values, and the scores."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from explaind.cli.views.comparison import show_faithfulness
from explaind.cli.views.fields import show_facts
from explaind.cli.views.prompt import coloured_prompt, question
from explaind.contract.blocks.attribution_result import Attribution, Interactions
from explaind.views.attribution import asked
from explaind.views.drawing.heatmap import summary
from explaind.views.drawing.palette import NEGATIVE, POSITIVE, css, largest, share_of
from explaind.views.drawing.text import number, one_line, plural, signed
from explaind.views.parts.interactions import MEANING, strongest_pairs
from explaind.views.registry import View

_BAR = 24  # characters of a bar, both sides together
_QUIET = "dim"


def show_attribution(console: Console, result: Attribution) -> None:
    """Writes what was explained, the coloured prompt, every value, and the scores."""
    console.print(question(result), soft_wrap=True)
    console.print()
    console.print(coloured_prompt(result, colour=console.color_system is not None))
    console.print()
    console.print(_values_table(result))
    if result.interactions is not None:
        _show_interactions(console, result, result.interactions)
    console.print(Text(summary(result), style=_QUIET), soft_wrap=True)
    show_facts(console, asked(result))
    if result.faithfulness is not None:
        show_faithfulness(console, result.faithfulness)


def _show_interactions(console: Console, result: Attribution, found: Interactions) -> None:
    """The strongest pairs of units, and what a value means."""
    table = Table(box=None, padding=(0, 1), header_style=_QUIET)
    table.add_column("interactions, strongest pairs")
    table.add_column("value", justify="right")
    for pair in strongest_pairs(result, found):
        table.add_row(Text(f"{pair.first} and {pair.second}"), pair.written)
    console.print()
    console.print(table)
    console.print(Text(f"{MEANING} {plural(found.evaluations, 'evaluation')}.", style=_QUIET), soft_wrap=True)
    console.print()


def _values_table(result: Attribution) -> Table:
    table = Table(box=None, padding=(0, 1), header_style=_QUIET)
    table.add_column("#", justify="right", style=_QUIET)
    table.add_column("unit", max_width=40, no_wrap=True)
    table.add_column("value", justify="right")
    if result.standard_errors:
        table.add_column("± s.e.", justify="right", style=_QUIET)
    table.add_column("")
    scale = largest(result.values)
    for index, (unit, value) in enumerate(zip(result.units, result.values, strict=True)):
        name = f"{one_line(unit.name)}: " if unit.name else ""
        cells: list[str | Text] = [str(index + 1), Text(name + one_line(unit.text)), signed(value)]
        if result.standard_errors:
            cells.append(number(result.standard_errors[index]))
        table.add_row(*cells, _two_sided(share_of(value, scale)))
    return table


def _two_sided(share: float) -> Text:
    half = _BAR // 2
    length = round(abs(share) * half)
    if length == 0:
        return Text(" " * half + "│", style=_QUIET)
    bar = "█" * length
    if share > 0:
        return Text.assemble(" " * half, ("│", _QUIET), (bar, css(POSITIVE)))
    return Text.assemble(" " * (half - length), (bar, css(NEGATIVE)), ("│", _QUIET))


VIEW = View(Attribution, terminal=show_attribution)
