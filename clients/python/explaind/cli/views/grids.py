"""A heat grid for the terminal: one coloured cell per value, or its digits where there is no colour.

Columns whose names are short carry them; else they are numbered, and the numbers are explained below the grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.style import Style
from rich.text import Text

from explaind.cli.encoding import fitted
from explaind.views.drawing.grids import Grid
from explaind.views.drawing.palette import FAINT, SURPRISE, diverging_on_paper, on_paper, share_of
from explaind.views.drawing.text import one_line

_QUIET = "dim"
_WIDEST = 256  # columns that are drawn
_CELL, _WIDE_CELL = 2, 10  # characters of a cell, and of one that has room for its column's name
_ROW_CHARS, _KEY_CHARS = 12, 24  # of a row's name, and of a column's in the key
_STEPS = " .:-=+*#%@"


@dataclass(frozen=True)
class _Layout:
    """How a grid is written: the names of its rows, the heads of its columns, and their widths in characters."""

    rows: list[str]
    heads: list[str]
    row_width: int
    cell: int


def show_grid(console: Console, grid: Grid) -> None:
    """Rows of cells, in as many bands as the width asks for.

    Without colours a cell is its magnitude as a character, with its sign before it.
    """
    names = [fitted(one_line(name, _KEY_CHARS), console.file) for name in grid.columns[:_WIDEST]]
    rows = [fitted(one_line(name, _ROW_CHARS), console.file) for name in grid.rows]
    count, room = len(names), console.width - max(map(cell_len, rows), default=0) - 1
    cell = max(_CELL, 1 + max(map(cell_len, names), default=0))
    named = cell <= _WIDE_CELL and cell * count <= room
    # Heads are numbers already; the MLP or a bias may stand after them.
    counted = not named and sum(name.isdigit() for name in names) > count / 2
    same = not named and not counted and list(grid.rows) == list(grid.columns)  # tokens by tokens: rows are the key
    if same:
        rows = [fitted(one_line(f"{at} {name}", _ROW_CHARS), console.file) for at, name in enumerate(grid.rows)]
    heads = names if named or counted else [str(at) for at in range(count)]
    width = max(map(cell_len, rows), default=0)
    room = console.width - width - 1
    layout = _Layout(rows, heads, width, cell if named else _CELL + ((_CELL + 1) * count <= room))
    band = max(1, room // layout.cell)
    for begin in range(0, count, band):
        _show_band(console, grid, layout, range(begin, min(count, begin + band)))
    if len(grid.columns) > count:
        console.print(Text(f"and {len(grid.columns) - count} more columns", style=_QUIET))
    if counted and not all(name.isdigit() for name in names):
        last = ", ".join(name for name in names if not name.isdigit())
        console.print(Text(f"last columns: {last}", style=_QUIET))
    elif not named and not counted and not same:
        for line in _key(grid.column_kind, names, console.width):
            console.print(Text(line, style=_QUIET), soft_wrap=True)
    console.print(Text(_scale(grid, colour=console.color_system is not None), style=_QUIET), soft_wrap=True)


def _show_band(console: Console, grid: Grid, layout: _Layout, columns: range) -> None:
    reach = grid.reach
    console.print(Text(f"{'':{layout.row_width}} {_head(layout, columns)}", style=_QUIET), soft_wrap=True)
    for row, name in enumerate(layout.rows):
        line = Text().append(f"{' ' * (layout.row_width - cell_len(name))}{name} ", style=_QUIET)
        for column in columns:
            value = grid.values[row][column]
            if value is None or (row, column) in grid.apart:
                line.append(f"{'' if value is None else '·':>{layout.cell}}", style=_QUIET)
                continue
            share = share_of(value, reach)
            text, style = _painted(share, diverging=grid.diverging, colour=console.color_system is not None)
            line.append(f"{text:>{layout.cell}}", style)
        console.print(line, soft_wrap=True)


def _head(layout: _Layout, columns: range) -> str:
    """The names of as many columns as have room, each ending over its cell."""
    longest = max((len(layout.heads[column]) for column in columns if layout.heads[column].isdigit()), default=0)
    step = max(1, -(-(longest + 1) // layout.cell))
    line = ""
    for at, column in enumerate(columns):
        name = layout.heads[column]
        space = layout.cell * (at + 1) - cell_len(line) - cell_len(name)
        if space >= bool(line) and (at % step == 0 or not name.isdigit()):
            line += " " * space + name
    return line


def _scale(grid: Grid, *, colour: bool) -> str:
    """What a cell's colour, or its character, says."""
    reach = grid.written(grid.reach)
    if colour:
        return f"colours end at {reach}"
    return f"cells from 0 to {reach}: {_STEPS.strip()}{' with a - where they are below 0' if grid.diverging else ''}"


def _key(kind: str, names: Sequence[str], width: int) -> list[str]:
    """What the numbers of the columns stand for, in lines of that width."""
    entries = [f"{at} {name}" for at, name in enumerate(names)]
    cell = max(map(cell_len, entries)) + 2
    each = max(1, width // cell)
    rows = [entries[at : at + each] for at in range(0, len(entries), each)]
    return [f"{kind}s:", *("".join(set_cell_size(entry, cell) for entry in row).rstrip() for row in rows)]


def _painted(share: float, *, diverging: bool, colour: bool) -> tuple[str, Style | str]:
    if colour:
        if abs(share) < FAINT:
            return "", ""
        background, _ = diverging_on_paper(share) if diverging else on_paper(SURPRISE, abs(share))
        red, green, blue = background
        return "", Style(bgcolor=f"rgb({red},{green},{blue})")
    sign = "-" if share < -FAINT else " "
    return sign + _STEPS[min(len(_STEPS) - 1, round(abs(share) * (len(_STEPS) - 1)))], ""
