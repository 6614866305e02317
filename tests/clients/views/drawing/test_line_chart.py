"""Line charts: where points and ticks are."""

import math
import re

import pytest

from explaind.views.drawing.line_chart import Axis, Line, line_chart, round_ticks


def places(drawn: str) -> list[tuple[float, ...]]:
    (points,) = re.findall(r'points="([^"]+)"', drawn)
    return [tuple(float(part) for part in point.split(",")) for point in points.split()]


def texts(drawn: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", drawn)


def test_a_line_is_drawn_from_its_first_to_its_last_point():
    drawn = line_chart([Line("own", [1.0, 0.0, -1.0], [0.0, 0.5, 1.0])], title="t", x=Axis(low=0.0, high=1.0))
    across = [x for x, _ in places(drawn)]
    assert across == [66.0, 186.0, 306.0]
    heights = [y for _, y in places(drawn)]
    assert heights == sorted(heights), "lower values are lower on the page"
    assert heights[1] == pytest.approx(sum(heights) / 3, abs=0.11)


@pytest.mark.parametrize(
    "y", [[2.0, 2.0], [math.nan, 1.0], [math.inf, math.nan], [], [0.0], [1e300, -1e300], [5e-324], [1e308, -1e308]]
)
def test_flat_odd_and_empty_lines_are_drawn(y):
    drawn = line_chart([Line("own", y)], title="t")
    assert "<svg" in drawn
    assert "nan" not in drawn.replace("nano", "")
    assert "inf" not in drawn


@pytest.mark.parametrize(
    ("low", "high", "whole", "ticks"),
    [
        (-9.1, -0.2, False, [-10, -8, -6, -4, -2, 0]),
        (0.0, 1.0, False, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.0, 3.0, True, [0, 1, 2, 3]),
        (0.0, 1.0, True, [0, 1]),
        (0.0, 2000.0, False, [0, 500, 1000, 1500, 2000]),
    ],
)
def test_ticks_are_round_and_enclose_the_values(low, high, whole, ticks):
    assert round_ticks(low, high, 6, whole=whole) == pytest.approx(ticks)


def test_axes_carry_their_ticks_and_names():
    line = Line("KL", [0.5, 3.2, 1.1], [2, 5, 11])
    drawn = line_chart([line], title="t", x=Axis("layer", whole=True), y=Axis("nats", low=0.0))
    assert {"layer", "nats"} <= set(texts(drawn))
    assert {"0", "2", "4"} <= set(texts(drawn))
    assert not [text for text in texts(drawn) if "." in text], "layers are whole numbers"
    assert "KL, 5: 3.2" in drawn


def test_named_places_are_thinned_out():
    names = [f"layer {n}" for n in range(100)]
    drawn = line_chart([Line("x", [float(n) for n in range(100)])], title="t", x=Axis(names=names))
    assert 2 <= len([text for text in texts(drawn) if text.startswith("layer")]) <= 6


def test_lines_are_named_where_there_is_more_than_one():
    one, two = Line("<b>one", [1.0, 2.0]), Line("two\u202e", [2.0, 1.0], dashed=True)
    assert "figcaption><div>t</div></figcaption>" in line_chart([one], title="t")
    both = line_chart([one, two], title="t")
    assert "&lt;b&gt;one" in both
    assert "\u202e" not in both
    assert both.count("stroke-dasharray") == 1
