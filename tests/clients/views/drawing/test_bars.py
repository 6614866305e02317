"""Bars as rows: how long, where from, and readable on a narrow page."""

import re

import pytest

from explaind.views.drawing.bars import Bar, bars_html


def lanes(drawn: str) -> list[tuple[str, float, float]]:
    found = re.findall(r'<div class="(for|against)" style="[^"]*?left:([\d.]+)%;width:([\d.]+)%', drawn)
    return [(side, float(left), float(width)) for side, left, width in found]


def test_bars_begin_at_a_common_zero_and_are_as_long_as_their_values():
    drawn = bars_html([Bar("great", 6, 3.0), Bar("was", 5, 1.5), Bar("bad", 7, -1.0)], title="Values")
    assert lanes(drawn) == [("for", 25.0, 75.0), ("for", 25.0, 37.5), ("against", 0.0, 25.0)]
    assert drawn.count('left:25.00%"></div></div>') == 3, "the zero line of each row"
    assert "+1.500" in drawn


def test_whiskers_reach_one_error_to_both_sides_within_the_track():
    drawn = bars_html([Bar("a", 1, 1.0, 1.0), Bar("b", 2, -1.0, 1.0)], title="Values")
    spans = re.findall(r"left:([\d.]+)%;width:([\d.]+)%;border:solid", drawn)
    assert spans == [("50.00", "50.00"), ("0.00", "50.00")]


def test_an_interval_reaches_to_its_own_ends():
    drawn = bars_html([Bar("a", 1, 1.0, ends=(-1.0, 3.0)), Bar("b", 2, 0.5, ends=(0.0, 1.0))], title="Values")
    spans = re.findall(r"left:([\d.]+)%;width:([\d.]+)%;border:solid", drawn)
    assert spans == [("0.00", "100.00"), ("25.00", "25.00")]
    assert "a: +1.000, −1.000 to +3.000" in drawn


def test_texts_keep_a_size_that_can_be_read():
    """They are text of the page, so nothing scales them; a picture would shrink with a narrow screen."""
    drawn = bars_html([Bar("layer 3, head 12", 1, 0.5, 0.1), Bar("mistake", None, 4.0, written="4")], title="Values")
    assert "<svg" not in drawn
    assert min(map(int, re.findall(r"font-size:(\d+)px", drawn))) >= 11
    assert ">4</td>" in drawn
    assert "<small" not in drawn.partition("mistake")[2], "no place where there is none"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_values_without_a_length_have_an_empty_bar(value):
    ((_, _, width),) = lanes(bars_html([Bar("<b>", 1, value)], title="Values"))
    assert width == 0
