"""Numbers as people read them."""

import math

import pytest

from explaind.views.drawing.text import number, percent, plural, seconds, signed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.1234, "+0.123"),
        (-4.56, "−4.560"),
        (12.345, "+12.35"),
        (123456.0, "+123,456"),
        (1e-7, "+1.0e−7"),
        (-2.5e12, "−2.5e12"),
        (math.nan, "not a number"),
        (-math.inf, "−infinity"),
    ],
)
def test_signed(value, text):
    assert signed(value) == text


def test_number_has_no_plus():
    assert number(1.5) == "1.500"


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (1e-9, "< 0.01 %"),
        (0.99999, "> 99.99 %"),
        (0.5, "50.0 %"),
        (0.042, "4.20 %"),
    ],
)
def test_percent(share, text):
    assert percent(share) == text


def test_seconds_and_plural():
    assert [seconds(value) for value in (0.0042, 0.41, 125.9)] == ["4 ms", "0.41 s", "2 min 5 s"]
    assert [plural(1, "token"), plural(2000, "token")] == ["1 token", "2,000 tokens"]
