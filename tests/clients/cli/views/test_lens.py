import io

from rich.console import Console

from explaind.cli.views.lens import show_lens
from explaind.contract.methods.explain.logit_lens import LogitLens
from tests.support.lens_result import LENS


def written(width=100, *, colour=False):
    system = "truecolor" if colour else None
    console = Console(file=io.StringIO(), width=width, force_terminal=colour, color_system=system, _environ={})
    show_lens(console, LogitLens.model_validate(LENS))
    return console.file.getvalue()


def test_the_last_layer_is_on_top_and_the_ranks_follow():
    lines = written().splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["1", "0", "token"]
    assert "<b>Mary" in lines[1]
    assert "1,234 1,233" in "\n".join(lines)


def test_texts_neither_mark_up_nor_steer():
    text = written()
    assert "[bold]two" in text
    assert "\x1b" not in text


def test_a_narrow_terminal_shows_the_last_positions():
    assert "last 1 positions" in " ".join(written(width=20).split())


def test_colours_are_backgrounds():
    assert "\x1b[" in written(colour=True)
