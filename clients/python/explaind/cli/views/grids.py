"""A heat grid for the terminal: one coloured cell per value, or its digits where there is no colour."""

from rich.console import Console
from rich.style import Style
from rich.text import Text

from explaind.cli.encoding import fitted
from explaind.views.drawing.grids import Grid
from explaind.views.drawing.palette import FAINT, SURPRISE, diverging_on_paper, on_paper, share_of
from explaind.views.drawing.text import one_line

_QUIET = "dim"
_WIDEST = 64  # columns that are drawn; a terminal has no room for more
_STEPS = " .:-=+*#%@"


def show_grid(console: Console, grid: Grid) -> None:
    """Rows of two-character cells; without colours the magnitude as a character, with its sign before it."""
    reach = grid.reach
    names = [fitted(one_line(name, 12), console.file) for name in grid.rows]
    width = max(map(len, names), default=0)
    columns = range(min(_WIDEST, len(grid.columns)))
    # Every fourth column has a name, in two characters, or in up to eight where a sign takes more.
    heads = (f"{fitted(one_line(grid.columns[c], 2), console.file):>2}" for c in columns[::4])
    head = "".join(f"{name:8.8}" for name in heads)[: 2 * len(columns)]
    console.print(Text(f"{'':>{width}} {head}", style=_QUIET), soft_wrap=True)
    for row, name in enumerate(names):
        line = Text().append(f"{name:>{width}} ", style=_QUIET)
        for column in columns:
            value = grid.values[row][column]
            if value is None or (row, column) in grid.apart:
                line.append("  " if value is None else " ·", style=_QUIET)
                continue
            share = share_of(value, reach)
            line.append(*_painted(share, diverging=grid.diverging, colour=console.color_system is not None))
        console.print(line, soft_wrap=True)
    if len(grid.columns) > _WIDEST:
        console.print(Text(f"and {len(grid.columns) - _WIDEST} more columns", style=_QUIET))
    console.print(Text(f"colours end at {grid.written(reach)}", style=_QUIET))


def _painted(share: float, *, diverging: bool, colour: bool) -> tuple[str, Style | str]:
    if colour:
        if abs(share) < FAINT:
            return "  ", ""
        background, _ = diverging_on_paper(share) if diverging else on_paper(SURPRISE, abs(share))
        red, green, blue = background
        return "  ", Style(bgcolor=f"rgb({red},{green},{blue})")
    sign = "-" if share < -FAINT else " "
    return sign + _STEPS[min(len(_STEPS) - 1, round(abs(share) * (len(_STEPS) - 1)))], ""
