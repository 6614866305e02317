"""Terminal view of ablations and activation patching: grids and strongest effects."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from explaind.cli.views.fields import show_facts
from explaind.cli.views.grids import show_grid
from explaind.contract.blocks.ablation import Failures
from explaind.contract.methods.explain.activation_patching import ActivationPatching
from explaind.contract.methods.explain.head_ablation import HeadAblation
from explaind.contract.methods.explain.layer_ablation import LayerAblation
from explaind.views.ablation import asked, effect_grid, heading, heads_in_words, ranked, summary_line
from explaind.views.activation_patching import TITLES
from explaind.views.activation_patching import asked as patching_asked
from explaind.views.activation_patching import effect_grid as patch_grid
from explaind.views.activation_patching import strongest as strongest_patch
from explaind.views.activation_patching import summary_line as patching_line
from explaind.views.drawing.text import number, signed
from explaind.views.parts.ablation_charts import RankedPart, metric_in_words, strongest
from explaind.views.registry import View

_MOST = 10
_QUIET = "dim"


def show_ablation(console: Console, result: HeadAblation | LayerAblation) -> None:
    """Writes the grid of mean effects, the strongest components, and the sets ablated together."""
    console.print(Text(str(heading(result)), style="bold"), soft_wrap=True)
    console.print(Text(summary_line(result), style=_QUIET), soft_wrap=True)
    parts = ranked(result)
    if parts:
        console.print()
        show_grid(console, effect_grid(result))
        console.print()
        listed, rest = strongest(parts, _MOST)
        console.print(_rows([(str(n), part.name, part.written) for n, part in enumerate(listed, start=1)]))
        if rest:
            console.print(Text(f"and {rest}", style=_QUIET), soft_wrap=True)
    if isinstance(result, HeadAblation):
        _show_together(console, result)
    show_facts(console, asked(result))
    if result.failures is not None:
        console.print()
        console.print(_failures(result.failures))


def _show_together(console: Console, result: HeadAblation) -> None:
    if result.sets is not None:
        found = result.sets
        for heads, effect, low, high in zip(found.heads, found.effects, found.low, found.high, strict=True):
            part = RankedPart(heads_in_words(heads), effect, low, high, result.metric == "accuracy")
            console.print(Text(f"without {part.name}: {part.written}"), soft_wrap=True)
    if result.greedy is not None:
        gone = result.greedy
        steps = zip(gone.heads, gone.metric, strict=True)
        values = [f"−{a}.{b} {metric_in_words(result, metric)}" for (a, b), metric in steps]
        line = " → ".join([metric_in_words(result, result.clean_mean), *values])
        console.print(Text(f"one after the other: {line}"), soft_wrap=True)
    if result.first_pass is not None:
        spearman = result.first_pass.spearman
        agreement = "not defined" if spearman is None else number(spearman)
        text = f"first pass by gradients; rank correlation with the exact effects: {agreement}"
        console.print(Text(text, style=_QUIET), soft_wrap=True)


def _rows(rows: list[tuple[str, str, str]]) -> Table:
    table = Table(box=None, padding=(0, 1), header_style=_QUIET)
    table.add_column("#", justify="right", style=_QUIET)
    table.add_column("part")
    table.add_column("mean effect")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _failures(found: Failures) -> Table:
    table = Table(box=None, padding=(0, 1), header_style=_QUIET)
    table.add_column("wrong answers without")
    for category in found.categories:
        table.add_column(Text(category.replace("_", " ")), justify="right")
    for name, counts in [("the whole model", found.clean), *zip(found.components, found.ablated, strict=True)]:
        table.add_row(Text(name), *map(str, counts))
    return table


def show_patching(console: Console, result: ActivationPatching) -> None:
    """Writes every grid and its strongest patch."""
    console.print(Text(patching_line(result), style=_QUIET), soft_wrap=True)
    for grid in result.grids:
        where, effect = strongest_patch(result, grid)
        console.print()
        console.print(Text.assemble((TITLES[grid.point], "bold"), (f"  most: {where}, {signed(effect)}", _QUIET)))
        show_grid(console, patch_grid(result, grid))
    console.print()
    show_facts(console, patching_asked(result))


VIEWS = (
    View(HeadAblation, terminal=show_ablation),
    View(LayerAblation, terminal=show_ablation),
    View(ActivationPatching, terminal=show_patching),
)
