"""Generic terminal view of a result of any class, from its fields; JSON without a class is shown as JSON."""

import json
import math
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from explaind.cli.views.grids import show_grid
from explaind.cli.views.prompt import painted
from explaind.contract.base import ResponseModel
from explaind.views.drawing.fields import (
    Block,
    FactList,
    HeatGrid,
    ObjectTable,
    Series,
    Source,
    Strip,
    blocks_of,
    notes_of,
)
from explaind.views.drawing.html import Node, plain
from explaind.views.drawing.palette import FAINT, diverging_on_paper, largest, share_of
from explaind.views.drawing.text import number, shown, signed
from explaind.views.registry import View

_QUIET = "dim"
_MOST_NUMBERS = 200  # of a series
_LEVELS = "▁▂▃▄▅▆▇█"


def show_json(console: Console, value: Any) -> None:
    """The value as indented JSON, without the notes that stand above it."""
    if notes_of(value):
        value = {name: item for name, item in value.items() if name != "notes"}
    console.print(Text(shown(json.dumps(value, indent=2, ensure_ascii=False))))


def show_facts(console: Console, named: Mapping[str, Node]) -> None:
    """Names and values below each other, quiet; a value of None is left out."""
    for name, node in named.items():
        if node is not None:
            console.print(Text(f"{name}: {shown(plain(node))}", style=_QUIET), soft_wrap=True)


def show_fields(console: Console, result: ResponseModel) -> None:
    """Writes every block under its title."""
    for block in blocks_of(result):
        console.print(Text(shown(block.title), style="bold"), soft_wrap=True)
        _show(console, block)
        console.print()


def _show(console: Console, block: Block) -> None:
    match block:
        case Strip():
            console.print(_strip(block, colour=console.color_system is not None))
        case HeatGrid():
            show_grid(console, block.grid)
        case Series():
            console.print(Text(_series(block)), soft_wrap=True)
        case ObjectTable():
            console.print(_table(block))
            if block.left_out:
                console.print(Text(f"and {block.left_out:,} more", style=_QUIET))
        case FactList():
            for name, text in block.facts.items():
                console.print(Text.assemble((f"{name}: ", _QUIET), shown(text)))
        case Source():
            console.print(Text(shown(block.text)))


def _strip(block: Strip, *, colour: bool) -> Text:
    """Labels on the colours of their numbers; without colours, each followed by its number."""
    scale = largest(value for value in block.values if value is not None)
    text = Text()
    for label, value in zip(block.labels, block.values, strict=True):
        share = share_of(value or 0.0, scale)
        if not colour:
            text.append(shown(label)).append(f"({'none' if value is None else signed(value)}) ", style=_QUIET)
        else:
            text.append(shown(label), style="" if abs(share) < FAINT else painted(diverging_on_paper(share))).append(
                " "
            )
    return text


def _series(block: Series) -> str:
    """The numbers as a line of bars, with the smallest and the largest of them."""
    finite = [value for value in block.values if math.isfinite(value)]
    if not finite:
        return "no finite number"
    low, high = min(finite), max(finite)
    span = (high - low) or 1.0
    bars = [
        _LEVELS[min(7, int(8 * (value - low) / span))] if math.isfinite(value) else " "
        for value in block.values[:_MOST_NUMBERS]
    ]
    return f"{''.join(bars)}  {number(low)} to {number(high)}, {len(block.values):,} values"


def _table(block: ObjectTable) -> Table:
    table = Table(box=None, padding=(0, 1), header_style=_QUIET)
    for name in block.columns:
        table.add_column(Text(name))
    for row in block.rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    return table


VIEWS = (View(ResponseModel, terminal=show_fields), View(object, terminal=show_json))
