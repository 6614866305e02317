"""Heat grids in the page and in the terminal."""

import io
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from explaind.cli.views.grids import show_grid
from explaind.views.drawing.grids import Grid, grid_svg, grid_table

HOSTILE = "</svg><script>alert(1)</script>\x1b[31m"


@pytest.fixture
def grid() -> Grid:
    return Grid([[0.5, -1.0, None], [0.0, 20.0, 0.25]], ["0", "1"], ["a", "b", "c"], apart=frozenset({(1, 1)}))


def test_a_cell_that_stands_apart_has_no_part_in_the_scale(grid):
    assert grid.reach == 1.0
    drawn = grid_svg(grid, title="Heads")
    assert "layer 1, head b: +20.00" in drawn, "its number can still be read"
    assert "layer 0, head c: nothing" in drawn
    assert Grid(grid.values, grid.rows, grid.columns).reach == 20.0


class Cells(HTMLParser):
    """The rectangles of a picture, each with its title; and whether every element was closed."""

    def __init__(self, drawn: str) -> None:
        super().__init__()
        self.rects: list[dict[str, str]] = []
        self.open: list[str] = []
        self.feed(drawn)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        if tag == "rect":
            self.rects.append({name: value or "" for name, value in attrs})

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-2:] == ["rect", "title"]:
            self.rects[-1]["title"] = data


def test_the_picture_is_well_formed_and_holds_a_cell_per_value(grid):
    colours = {rect["title"]: rect["style"] for rect in Cells(grid_svg(grid, title="Heads")).rects if "title" in rect}
    assert len(colours) == 6
    assert "44,123,214" in colours["layer 0, head b: −1.000"], "blue below 0"
    assert "230,108,20" in colours["layer 0, head a: +0.500"], "orange above"
    assert "128,128,128" in colours["layer 1, head b: +20.00"], "grey apart"


def test_one_colour_where_nothing_is_below_zero():
    drawn = grid_svg(Grid([[0.2, 1.0]], ["0"], ["x", "y"], diverging=False), title="Scores")
    assert "160,82,190" in drawn
    assert "230,108,20" not in drawn
    assert "head y: 1.000" in drawn


@pytest.mark.parametrize("columns", [1, 3, 40, 400])
def test_all_cells_lie_within_the_picture(columns):
    many = Grid([[float(c) for c in range(columns)]] * 2, ["0", "1"], [str(c) for c in range(columns)])
    drawn = grid_svg(many, title="")
    found = re.search(r'viewBox="0 0 (\d+) (\d+)"', drawn)
    assert found
    width, height = map(float, found.groups())
    for rect in Cells(drawn).rects:
        x, y, w, h = (float(rect[name]) for name in ("x", "y", "width", "height"))
        assert 0 <= x <= x + w <= width
        assert 0 <= y <= y + h <= height


def test_a_table_writes_the_numbers_out(grid):
    made = grid_table(grid)
    assert made.count("<td") == 6
    assert "−1.000" in made
    assert "+20.00" in made


def test_nothing_in_a_label_can_do_harm():
    bad = Grid([[1.0]], [HOSTILE], [HOSTILE], row_kind="layer", column_kind="token")
    for made in (grid_svg(bad, title=HOSTILE), grid_table(bad)):
        assert "<script" not in made
    assert "\x1b" not in grid_table(bad)


@pytest.mark.parametrize("colour", [None, "truecolor"])
def test_a_grid_on_a_terminal(grid, colour):
    to = Console(file=io.StringIO(), width=80, color_system=colour, force_terminal=colour is not None, _environ={})
    show_grid(to, grid)
    assert isinstance(to.file, io.StringIO)
    said = to.file.getvalue()
    assert ("colours end at +1.000" if colour else "cells from 0 to +1.000") in said
    assert " ·" in said
    assert bool(re.search(r"\x1b\[48;2;", said)) == (colour is not None)
    assert ("-@" in said) == (colour is None)
