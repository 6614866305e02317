"""`n_steps: "auto"`, and the notes on values that do not add up to the difference in score."""

from typing import get_args

import numpy as np
import pytest

from explaind.contract.methods.explain.integrated_gradients import Quadrature
from explaind.contract.registry import find_method
from explaind_worker.engine.gradients.quadrature import NESTED
from explaind_worker.methods.explain import integrated_gradients
from explaind_worker.runtime.job_control import Cancelled
from explaind_worker.session.session import Session
from tests.worker.session.test_estimate import carried_out, estimated

PATH = "explain/integrated-gradients"
ASKED = {"prompt": "Once upon a time Mary gave", "target": " a drink to John", "units": "token"}
ZERO = ASKED | {"baseline": "zero"}


def share(result):
    """The gap as a share of the difference in score."""
    return abs(result.completeness_gap / (result.full_value - result.base_value))


@pytest.fixture(autouse=True)
def begin_small(monkeypatch):
    monkeypatch.setattr(integrated_gradients, "FIRST_STEPS", 3)


@pytest.mark.parametrize("rule", get_args(Quadrature))
def test_steps_are_doubled_until_the_gap_is_under_the_tolerance(run, rule):
    found = run(PATH, n_steps="auto", tolerance=0.02, max_steps=200, quadrature=rule, **ASKED)
    assert share(found) <= 0.02
    assert found.notes == []
    assert found.n_steps > 3
    same = run(PATH, n_steps=found.n_steps, quadrature=rule, **ASKED)
    np.testing.assert_allclose(found.values, same.values, rtol=1e-4, atol=1e-5)
    before = (found.n_steps + 1) // 2 if rule == "riemann_trapezoid" else found.n_steps // 2
    assert share(run(PATH, n_steps=before, quadrature=rule, **ASKED)) > 0.02
    # The two ends are evaluated too; points that nest once, others again at each doubling.
    points = found.evaluations - 2
    assert points == found.n_steps if rule in NESTED else points == 2 * found.n_steps - 3


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("causal", {"foil": " the store", "score": "logit", "units": "word", "per_target": True}),
        ("causal", {"target": {"labels": [" John", " Mary"], "explain": " John"}, "score": "prob"}),
        ("causal", {"target": {"generate": {"max_new_tokens": 2}}, "units": {"segments": [[0, 4], [5, 11]]}}),
        ("bert", {"prompt": "The food was great", "target": {"class": "POSITIVE"}, "units": "word"}),
    ],
)  # fmt: skip
def test_every_kind_of_question_converges(run, tiny_model, tiny_classifier, kind, asked):
    entry = tiny_model("llama") if kind == "causal" else tiny_classifier(kind)
    found = run(PATH, entry=entry, n_steps="auto", **(ASKED | asked))
    assert share(found) <= 0.01
    assert found.notes == []


def test_where_it_does_not_converge_it_says_so(run):
    """Points at the left of their cells lag behind a score that rises: the gap falls no faster than they grow."""
    found = run(PATH, n_steps="auto", max_steps=20, tolerance=1e-4, quadrature="riemann_left", **ZERO)
    assert found.n_steps == 12
    [note] = found.notes
    assert f"a gap of {found.completeness_gap:.4g}" in note
    assert f"differs by {found.full_value - found.base_value:.4g}" in note
    assert "With 12 points" in note
    assert "max_steps is 20" in note
    assert "zeros" in note


def test_fixed_steps_that_are_too_few_have_a_note(run):
    few, many = run(PATH, n_steps=2, **ZERO), run(PATH, n_steps=60, **ASKED)
    assert (few.n_steps, many.n_steps, many.notes) == (2, 60, [])
    assert share(few) > 0.05 > share(many)
    [note] = few.notes
    for said in ("n_steps is 2", '"auto"', f"a gap of {few.completeness_gap:.4g}", "embedding of zeros"):
        assert said in note
    assert "zeros" not in "".join(run(PATH, n_steps=2, **ASKED).notes)


@pytest.mark.parametrize(
    ("method", "params", "said"),
    [
        ("gradient-shap", {"n_samples": 5, "baseline": "zero"}, "raise n_samples"),
        ("input-x-gradient", {}, "linear between the two"),
        ("saliency", {}, "not a part of the score"),
        ("feature-ablation", {}, "one at a time"),
        ("occlusion", {}, "one at a time"),
        ("lime", {"n_samples": 40}, "linear model"),
    ],
)
def test_values_that_do_not_add_up_say_why(run, method, params, said):
    found = run(f"explain/{method}", **(ASKED | params))
    assert share(found) > 0.05
    [note] = found.notes
    assert said in note
    assert f"a gap of {found.completeness_gap:.4g}" in note


def test_gradient_shap_of_few_points_has_no_errors(run):
    few = run("explain/gradient-shap", n_samples=3, **ASKED)
    assert few.standard_errors is None
    assert any("no standard errors" in note for note in few.notes)


def test_a_comparison_keeps_the_notes_and_the_steps(run):
    methods = [{"method": "integrated-gradients", "params": {"n_steps": n}} for n in ("auto", 2)]
    found = run("explain/compare-methods", methods=methods, **ASKED)
    auto, two = found.methods
    assert (two.label, two.n_steps) == ("integrated-gradients 2", 2)
    assert auto.n_steps > 2
    (note,) = found.notes
    assert note.startswith("integrated-gradients 2: ")
    assert "n_steps is 2" in note


def test_an_estimate_is_of_all_doublings(pool, tiny_model):
    entry, params = tiny_model("llama"), ZERO | {"n_steps": "auto", "max_steps": 24}
    said = estimated(pool, entry, PATH, params)
    assert said.evaluations == 3 + 6 + 12 + 24 + 2
    assert "max_steps" in said.note
    never, meter = carried_out(pool, entry, PATH, params | {"tolerance": 1e-9})
    assert (never.evaluations, meter.forwards) == (said.evaluations, said.forwards)
    result, meter = carried_out(pool, entry, PATH, params | {"tolerance": 1.0})
    assert result.evaluations < said.evaluations
    assert meter.tokens_evaluated < said.tokens_evaluated


def test_a_doubling_is_named_and_can_be_stopped(pool, tiny_model):
    heard = []

    def report(phase, done, total, unit):
        heard.append((phase, done, total, unit))
        if phase.startswith("6 points"):
            raise Cancelled

    request = find_method(PATH).params_model.model_validate(
        {"model": "m", "n_steps": "auto", "tolerance": 1e-9, **ZERO}
    )
    with Session(tiny_model("llama"), pool, report) as session, pytest.raises(Cancelled):
        integrated_gradients.run(request, session)
    assert ("3 points of the path: computing gradients", 3, 3, "points") in heard
    assert heard[-1] == ("6 points of the path: computing gradients", 0, 6, "points")
