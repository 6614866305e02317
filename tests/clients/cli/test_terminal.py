"""Tables on narrow screens: long cells wrapped, short ones whole, else one block a row."""

import io

import pytest
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from explaind.cli.terminal import Terminal

ABOUT = "A small model shipped with explaind: arithmetic, sentiment of short reviews, who gave what to whom."


def written(table: Table, width: int) -> list[str]:
    to = io.StringIO()
    Terminal(file=to, width=width).print(table)
    return [line.rstrip() for line in to.getvalue().splitlines()]


def models() -> Table:
    table = Table(box=None, padding=(0, 1))
    for head in ("model", "state", "dtype", "prompt tokens", "source", "description"):
        table.add_column(head)
    table.add_row(Text("demo"), "ready", "float32", "240", "built-in", Text(ABOUT))
    return table


def test_a_table_that_fits_is_left_alone() -> None:
    assert written(models(), 200)[1].split() == ["demo", "ready", "float32", "240", "built-in", *ABOUT.split()]


def test_only_long_cells_are_wrapped() -> None:
    lines = written(models(), 80)
    assert all(cell_len(line) <= 80 for line in lines)
    assert lines[1].startswith(" demo   ready  float32  ")
    assert all(len(line.split()) > 1 for line in lines[1:-1])


@pytest.mark.parametrize("width", [40, 30])
def test_without_room_a_row_is_a_block(width: int) -> None:
    lines = written(models(), width)
    assert all(cell_len(line) <= width for line in lines)
    assert lines[0] == "demo"
    assert lines[1].startswith("  state: ready")
    assert " ".join(" ".join(lines).split()).endswith(f"source: built-in description: {ABOUT}")
    assert sum(len(line.split()) == 1 for line in lines[1:-1]) == 0


def test_heads_are_wrapped_before_cells_and_a_drawing_goes_first() -> None:
    table = Table("unit", "the value of it", "", box=None, padding=(0, 1))
    table.add_row("great", "+1.5", "█" * 24)
    assert "█" in written(table, 60)[-1]
    assert written(table, 24)[-1].split() == ["great", "+1.5"]


def test_lines_are_wrapped_between_words_on_a_screen_and_whole_in_a_pipe() -> None:
    for screen, lines in ((True, ["aaaa bbbb", "cccc"]), (False, ["aaaa bbbb cccc"])):
        to = io.StringIO()
        Terminal(file=to, width=10, force_terminal=screen, color_system=None).print(
            Text("aaaa bbbb cccc"), soft_wrap=True
        )
        assert [line.rstrip() for line in to.getvalue().splitlines()] == lines
