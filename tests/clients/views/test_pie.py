"""A pie: slices as large as their counts, and a list that says the same in words."""

import math
import re

from explaind.views.drawing.palette import KINDS
from explaind.views.parts.pie import pie


def test_slices_are_as_large_as_their_counts():
    drawn = pie([("incomplete", 1), ("wrong operation", 0), ("off by one", 3)], title="4 wrong answers")
    arcs = re.findall(r"M0 0L([\d.-]+) ([\d.-]+)A60 60 0 ([01]) 1 ([\d.-]+) ([\d.-]+)Z", drawn)
    ends = [[float(number) for number in arc] for arc in arcs]
    assert ends[0] == [0.0, -60.0, 0.0, 60.0, 0.0], "a quarter, from the top on and clockwise"
    assert ends[1] == [60.0, 0.0, 1.0, 0.0, -60.0], "three quarters, the long way round"
    for said in ("incomplete 1 (25.0 %)", "wrong operation 0 (0 %)", "off by one 3 (75.0 %)", "4 wrong answers"):
        assert said in drawn
    assert "<script" not in drawn


def test_a_whole_is_a_circle_and_nothing_is_no_picture():
    assert "<circle" in pie([("a", 0), ("b", 7)], title="all")
    assert pie([("a", 0)], title="none") == ""
    assert "&lt;b&gt; 1" in pie([("<b>", 1)], title="names are text")


def test_colours_are_apart_for_the_colour_blind():
    """In the three simulations of Vi\u00e9not et al. 1999 and in light alone no two of the first four look alike."""
    protan = [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]]
    deutan = [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]]
    seen = {"protan": protan, "deutan": deutan, "normal": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}
    for matrix in seen.values():
        looks = [[sum(m * (part / 255) ** 2.2 for m, part in zip(row, kind, strict=True)) for row in matrix]
                 for kind in KINDS[:4]]  # fmt: skip
        for at, one in enumerate(looks):
            assert all(math.dist(one, other) > 0.15 for other in looks[at + 1 :])
