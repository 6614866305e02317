"""Grids in a terminal: which column is which, at any width, with and without colours."""

import io

import pytest
from rich.cells import cell_len

from explaind.cli.terminal import Terminal
from explaind.cli.views.grids import show_grid
from explaind.views.drawing.grids import Grid

TOKENS = ["<bos>", "When", " Mary", " and", " John", " went", " to", " the", " store", ",", " Johnathan", " gave", " a"]


def drawn(grid: Grid, width: int, **options) -> list[str]:
    to = io.StringIO()
    show_grid(Terminal(file=to, width=width, **options), grid)
    return [line.rstrip() for line in to.getvalue().splitlines()]


def marked(rows: list[str], columns: list[str], row: int, column: int, **fields) -> Grid:
    """A grid with one cell that is not 0."""
    values = [[float((r, c) == (row, column)) for c in range(len(columns))] for r in range(len(rows))]
    return Grid(values, rows, columns, **fields)


@pytest.mark.parametrize(("width", "column"), [(80, 9), (40, 9), (26, 8), (26, 12)])
def test_tokens_are_numbered_and_told_below(width: int, column: int) -> None:
    lines = drawn(marked(["0", "1"], TOKENS, 1, column, column_kind="token"), width)
    assert all(cell_len(line) <= width for line in lines[:-1])
    at = next(index for index, line in enumerate(lines) if line.endswith("@"))
    place = lines[at].index("@")
    heads = lines[at - 2][: place + 1]
    # Every second number has room where cells are narrow: the one that ends here, or one cell before.
    assert int(heads.split()[-1]) in {column, column - 1}
    key = " ".join(" ".join(lines[lines.index("tokens:") + 1 : -1]).split())
    assert key == " ".join(f"{number} {name.strip()}" for number, name in enumerate(TOKENS))
    assert "…" not in "".join(lines)


def test_tokens_by_tokens_need_no_key() -> None:
    lines = drawn(marked(TOKENS, TOKENS, 10, 4, diverging=False), 80)
    assert lines[0].split() == [str(number) for number in range(len(TOKENS))]
    assert lines[11].split()[:1] == ["10"]
    assert lines[11].index("@") == lines[0].index("4")
    assert len(lines) == 1 + len(TOKENS) + 1


def test_short_names_stand_over_wide_cells() -> None:
    lines = drawn(marked(["0", "1"], ["attention", "mlp", "block"], 1, 1), 40)
    assert lines[0].split() == ["attention", "mlp", "block"]
    assert lines[2].index("@") == lines[0].index("mlp") + 2


def test_heads_keep_their_numbers_and_what_follows_them_its_name() -> None:
    lines = drawn(marked(["0"], [*map(str, range(32)), "MLP"], 0, 32), 80)
    assert lines[0].endswith(" MLP")
    assert lines[1].index("@") == len(lines[0]) - 1
    assert lines[2] == "last columns: MLP"


def test_a_wide_grid_goes_on_below() -> None:
    lines = drawn(marked(["0"], [str(head) for head in range(64)], 0, 63), 80)
    assert [line.split()[0] for line in lines[:-1] if line[:1] == " "] == ["0", "39"]
    assert lines[3].endswith("@")


def test_the_scale_says_what_a_cell_is() -> None:
    grid = marked(["0"], ["a"], 0, 0)
    assert drawn(grid, 80)[-1] == "cells from 0 to +1.000: .:-=+*#%@ with a - where they are below 0"
    assert drawn(grid, 80, force_terminal=True, color_system="truecolor")[-1].endswith("colours end at +1.000\x1b[0m")
