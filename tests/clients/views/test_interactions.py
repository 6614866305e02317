"""Interactions of units in report, notebook and terminal: the grid, the strongest pairs, what a value means."""

import re

import pytest

from explaind.contract.blocks.attribution_result import Interactions
from explaind.contract.blocks.units import Unit
from explaind.views.parts.interactions import MEANING, strongest_pairs

VALUES = [[0.0, -0.5, 0.25, 0.0], [-0.5, 0.0, 1.75, 0.0], [0.25, 1.75, 0.0, 0.125], [0.0, 0.0, 0.125, 0.0]]


@pytest.fixture
def interacting(attribution):
    def make(**fields):
        found = Interactions(values=VALUES, standard_errors=[[0.5] * 4] * 4, evaluations=37)
        words = {"word": [[0], [1], [2], [3]], "sentence": [[0, 1], [2, 3]]}
        return attribution("great food <i> great", units=UNITS, interactions=found, groups=words, **fields)

    return make


UNITS = [
    Unit(text=text, start=start, end=start + len(text))
    for text, start in (("great", 0), ("food", 6), ("<i>", 11), ("great", 15))
]


def test_pairs_are_told_by_magnitude_with_their_signs(interacting):
    result = interacting()
    pairs = strongest_pairs(result, result.interactions)
    assert [(pair.first, pair.second, pair.value) for pair in pairs[:3]] == [
        ("food", "<i>", 1.75),
        ("great (1)", "food", -0.5),
        ("great (1)", "<i>", 0.25),
    ]
    assert len(pairs) == 6
    assert pairs[1].written == "−0.500 ± 0.500"


def test_report_notebook_and_terminal_show_them(page, terminal, interacting):
    result = interacting(unit_kind="token")
    report, notebook, written = page(result, "explain/shap"), result._repr_html_(), terminal(result, "explain/shap")
    for drawn in (report, notebook):
        assert "unit food, unit &lt;i&gt;: +1.750" in drawn, "a cell of the grid"
        assert "unit food, unit food: nothing" in drawn, "no unit interacts with itself"
        assert drawn.count("−0.500 ± 0.500") == 1
        assert MEANING in drawn
        assert "<i>" not in drawn
    assert "between tokens, Shapley interaction index, 37 evaluations" in report
    assert re.search(r"food and <i> +\+1\.750 ± 0\.500", written)
    assert MEANING in written


def test_larger_units_have_no_interactions_of_their_own(page, interacting, terminal):
    """They are of the units that were explained; a sum over pairs is no interaction of the larger ones."""
    result = interacting(unit_kind="token")
    assert page(result, "explain/shap").count("Which units work together") == 1, "once, whatever units are shown"
    larger = result.regrouped("sentence")
    assert larger.interactions is None
    for drawn in (page(larger, "explain/shap"), larger._repr_html_(), terminal(larger, "explain/shap")):
        assert "work together" not in drawn
        assert "strongest pairs" not in drawn


def test_what_was_not_asked_is_not_there(page, attribution):
    assert "work together" not in page(attribution(), "explain/shap")
