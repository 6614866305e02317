"""Terminal view of a comparison of methods, and of an attribution's faithfulness."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from explaind.cli.views.fields import show_facts
from explaind.cli.views.prompt import coloured_prompt, question
from explaind.contract.blocks.attribution_result import Faithfulness
from explaind.contract.methods.explain.compare_methods import MethodComparison
from explaind.views.comparison import asked, attributions, summary_line
from explaind.views.drawing.faithfulness import beaten, faithfulness_line, measures
from explaind.views.drawing.text import number, one_line, shown, signed
from explaind.views.registry import View

_QUIET = "dim"


def show_comparison(console: Console, result: MethodComparison) -> None:
    """Writes the prompt once per method, the numbers of each, and a table of their agreement."""
    drawn = {row.label: attribution for row, attribution in attributions(result)}
    console.print(question(next(iter(drawn.values()))), soft_wrap=True)
    for row in result.methods:
        console.print()
        console.print(Text.assemble((one_line(row.label), "bold"), "  ", (one_line(summary_line(row)), _QUIET)))
        if row.label in drawn:
            console.print(coloured_prompt(drawn[row.label], colour=console.color_system is not None))
        elif row.error is not None:
            console.print(Text(shown(f"{row.error.title}: {row.error.detail}"), style="red"), soft_wrap=True)
        if row.faithfulness is not None:
            console.print(Text(faithfulness_line(row.faithfulness), style=_QUIET), soft_wrap=True)
    if len(drawn) > 1:
        console.print()
        console.print(_agreement(result))
        chance = f"top {result.agreement.top_k} in common by chance: {number(result.agreement.top_overlap_by_chance)}"
        console.print(Text(chance, style=_QUIET))
    show_facts(console, asked(result))


def _agreement(result: MethodComparison) -> Table:
    """One row per pair of methods."""
    found = result.agreement
    table = Table(box=None, padding=(0, 1), header_style=_QUIET)
    table.add_column("methods")
    for head in ("Spearman", f"top {found.top_k} in common", "cosine"):
        table.add_column(head, justify="right")
    for first, label in enumerate(found.labels):
        for second in range(first + 1, len(found.labels)):
            entries = [matrix[first][second] for matrix in (found.spearman, found.top_overlap, found.cosine)]
            cells = ["none" if entry is None else number(entry) for entry in entries]
            table.add_row(Text(f"{one_line(label)}, {one_line(found.labels[second])}"), *cells)
    return table


def show_faithfulness(console: Console, found: Faithfulness) -> None:
    """Writes the measures of an attribution's order, compared with random orders."""
    table = Table(box=None, padding=(0, 1), header_style=_QUIET)
    table.add_column("faithfulness")
    for head in ("this order", "random orders", "z", "beats"):
        table.add_column(head, justify="right", style=_QUIET if head == "random orders" else None)
    for name, (measure, better) in measures(found).items():
        random = f"{number(measure.random_mean)} ± {number(measure.random_deviation)}"
        table.add_row(
            Text.assemble(name.lower(), (f" ({better} is better)", _QUIET)),
            number(measure.value),
            random,
            "" if measure.z is None else signed(measure.z),
            beaten(measure),
        )
    console.print()
    console.print(Text(faithfulness_line(found)), soft_wrap=True)
    console.print(table)


VIEW = View(MethodComparison, terminal=show_comparison)
