"""Heat grids, rows × columns: layers by heads, layers by positions, queries by keys; as inline SVG and as a table.

Styles are inline, so that they look the same in a report and in a notebook, on light and on dark pages.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from explaind.views.drawing.html import Markup, tag
from explaind.views.drawing.palette import diverging_css, largest, share_of, surprise_css
from explaind.views.drawing.text import number, one_line, points, signed

_WIDEST, _LARGEST, _SMALLEST = 640, 28, 9  # pixels of all columns together, and of a cell
_CHARACTER, _LINE = 6.3, 13  # pixels of a label's character and line
_LABEL_CHARS = 14
_APART = "rgba(128,128,128,.28)"
_OUTLINE = "rgba(128,128,128,.22)"
_TEXT = "font:11px system-ui,sans-serif"
_QUIET = "opacity:.7"


@dataclass(frozen=True)
class Grid:
    """Values [row][column] with the names of both; a value of None is left empty.

    `row_kind` and `column_kind` say what is named, in the singular. A `diverging` grid is blue below 0 and orange
    above, any other from 0 on in one colour. The colours end at `scale` (None: the largest magnitude). Cells that
    stand `apart` are grey and have no part in that scale: a sink would leave no colour to the others. Differences of
    `shares` are written in percentage points.
    """

    values: Sequence[Sequence[float | None]]
    rows: Sequence[str]
    columns: Sequence[str]
    row_kind: str = "layer"
    column_kind: str = "head"
    diverging: bool = True
    scale: float | None = None
    apart: frozenset[tuple[int, int]] = frozenset()
    shares: bool = False

    @property
    def reach(self) -> float:
        """End of the colour scale."""
        if self.scale is not None:
            return self.scale
        return largest(
            value
            for row, values in enumerate(self.values)
            for column, value in enumerate(values)
            if value is not None and (row, column) not in self.apart
        )

    def colour(self, value: float, reach: float) -> str:
        """The overlay of a value as a CSS colour."""
        share = share_of(value, reach)
        return diverging_css(share) if self.diverging else surprise_css(max(0.0, share))

    def said(self, row: int, column: int) -> str:
        """A cell as text: its row and column, and its value."""
        value = self.values[row][column]
        where = f"{self.row_kind} {one_line(self.rows[row])}, {self.column_kind} {one_line(self.columns[column])}"
        return f"{where}: {'nothing' if value is None else self.written(value)}"

    def written(self, value: float) -> str:
        """A value as text, with a sign if both signs occur."""
        if self.shares:
            return points(value)
        return signed(value) if self.diverging else number(value)


def grid_svg(grid: Grid, *, title: str) -> Markup:
    """The grid as a picture: every cell has its value as a tooltip; the legend is below."""
    side = max(_SMALLEST, min(_LARGEST, _WIDEST / max(1, len(grid.columns))))
    names = [[one_line(name, _LABEL_CHARS) for name in axis] for axis in (grid.rows, grid.columns)]
    longest = [max((len(name) for name in axis), default=0) for axis in names]
    upright = longest[1] * _CHARACTER <= side
    left = longest[0] * _CHARACTER + 2 * _LINE
    top = 2 * _LINE if upright else longest[1] * _CHARACTER + _LINE + 6
    width, height = len(grid.columns) * side, len(grid.rows) * side
    step = max(1, math.ceil(_LINE / side))
    reach = grid.reach
    cells = [
        _cell(grid, row, column, (left + column * side, top + row * side, side), reach)
        for row in range(len(grid.rows))
        for column in range(len(grid.columns))
    ]
    row_names = [
        _text(name, left - 5, top + (index + 0.5) * side + 4, anchor="end")
        for index, name in enumerate(names[0])
        if index % step == 0
    ]
    column_names = [
        _text(name, left + (index + 0.5) * side, top - 5, anchor="middle" if upright else "start", turned=not upright)
        for index, name in enumerate(names[1])
        if index % step == 0
    ]
    kinds = [
        _text(grid.column_kind, left + width / 2, _LINE - 3, anchor="middle", quiet=True),
        _text(grid.row_kind, _LINE - 3, top + height / 2, anchor="middle", turned=True, quiet=True),
    ]
    legend = _legend(grid, left, top + height + 10, reach)
    across, down = max(left + width + 8, left + 190), top + height + 2 * _LINE + 10
    # Scaled down, its texts could not be read on a narrow screen: there it is scrolled.
    drawn = tag(
        "svg",
        tag("title", title),
        kinds,
        row_names,
        column_names,
        cells,
        legend,
        viewBox=f"0 0 {across:.0f} {down:.0f}",
        style=f"width:{across:.0f}px;max-width:none;height:auto;display:block",
        role="img",
        class_="grid",
        aria_label=title,
    )
    return tag("div", drawn, class_="scroll", style="overflow-x:auto")


def grid_table(grid: Grid) -> Markup:
    """The grid as a table of its numbers, for few columns."""
    reach = grid.reach
    rows = [
        tag(
            "tr",
            tag("th", one_line(name, 40), scope="row", dir="auto"),
            [_table_cell(grid, row, column, reach) for column in range(len(grid.columns))],
        )
        for row, name in enumerate(grid.rows)
    ]
    heads = [tag("th", one_line(name, 20), class_="num", scope="col") for name in grid.columns]
    head = tag("thead", tag("tr", tag("th", f"{grid.row_kind} \N{MULTIPLICATION SIGN} {grid.column_kind}"), heads))
    return tag("div", tag("table", head, tag("tbody", rows), class_="matrix"), class_="scroll", style="overflow-x:auto")


def _table_cell(grid: Grid, row: int, column: int, reach: float) -> Markup:
    value = grid.values[row][column]
    if value is None:
        return tag("td", class_="num")
    colour = _APART if (row, column) in grid.apart else grid.colour(value, reach)
    style = f"background:{colour};text-align:right;padding:2px 8px;font-variant-numeric:tabular-nums"
    return tag("td", grid.written(value), class_="num", style=style)


def _cell(grid: Grid, row: int, column: int, place: tuple[float, float, float], reach: float) -> Markup:
    value = grid.values[row][column]
    colour = "none" if value is None else _APART if (row, column) in grid.apart else grid.colour(value, reach)
    x, y, side = place
    return tag(
        "rect",
        tag("title", grid.said(row, column)),
        x=f"{x:.1f}",
        y=f"{y:.1f}",
        width=f"{side:.1f}",
        height=f"{side:.1f}",
        # In very small cells nothing but the outline would be visible.
        style=f"fill:{colour};stroke:{_OUTLINE if side > 2 * _SMALLEST / 3 else 'none'};stroke-width:.6",
    )


def _legend(grid: Grid, left: float, top: float, reach: float) -> list[Markup]:
    """Colour swatches along the scale, with the numbers at its ends."""
    shares = [-1.0, -0.6, -0.25, 0.0, 0.25, 0.6, 1.0] if grid.diverging else [0.0, 0.25, 0.5, 0.75, 1.0]
    low = grid.written(-reach) if grid.diverging else "0"
    begin = left + len(low) * _CHARACTER + 6
    swatches = [
        tag(
            "rect",
            x=f"{begin + 14 * index:.1f}",
            y=f"{top:.1f}",
            width=14,
            height=10,
            style=f"fill:{grid.colour(share, 1.0)};stroke:{_OUTLINE};stroke-width:.6",
        )
        for index, share in enumerate(shares)
    ]
    end = begin + 14 * len(shares) + 6
    return [
        _text(low, begin - 6, top + 9, anchor="end", quiet=True),
        *swatches,
        _text(grid.written(reach), end, top + 9, anchor="start", quiet=True),
    ]


def _text(text: str, x: float, y: float, *, anchor: str, turned: bool = False, quiet: bool = False) -> Markup:
    if turned:
        x += 4
    return tag(
        "text",
        text,
        x=f"{x:.1f}",
        y=f"{y:.1f}",
        text_anchor=anchor,
        transform=f"rotate(-90 {x:.1f} {y:.1f})" if turned else None,
        style=f"{_TEXT};fill:currentColor" + (f";{_QUIET}" if quiet else ""),
    )
