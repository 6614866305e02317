"""explain/shap's partition, budget auto and interactions."""

import numpy as np
import pytest

from explaind.contract.errors import BudgetTooSmall
from explaind_worker.estimators.hierarchy import hierarchy
from explaind_worker.estimators.interactions import ExactInteractions
from tests.support.reference_game import PlainGame

SHORT = "Once upon a time Mary gave"
LONG = "The food was great but the room was small. When Mary and John went to the store, John gave"
TARGET = " a drink to"


@pytest.mark.parametrize(("family", "baseline"), [("gpt2", "mask"), ("llama", "remove")])
def test_partition_is_shaps_own_explainer(loaded, run, tiny_model, family, baseline):
    """All of a hierarchy, against the explainer one coalition at a time over plain forwards."""
    import shap

    game = PlainGame(loaded(family), SHORT, TARGET, baseline)

    def masker(mask, _row):
        return mask[None].astype(float)

    masker.clustering, masker.shape = hierarchy([()] * game.units), (1, game.units)
    naive = shap.PartitionExplainer(lambda z: game.play(z > 0.5), masker)
    expected = naive(np.ones((1, game.units)), max_evals=10_000, batch_size=1, silent=True).values[0]
    result = run(
        "explain/shap",
        entry=tiny_model(family),
        prompt=SHORT,
        target=TARGET,
        baseline=baseline,
        algorithm="partition",
        budget="auto",
    )
    np.testing.assert_allclose(result.values, expected, atol=1e-3)
    assert (result.algorithm, result.stopped.reason) == ("partition", "exact")
    assert result.evaluations < 2**game.units
    assert abs(result.completeness_gap) < 1e-4
    assert np.shape(result.values_by_target) == (game.units, len(result.target.tokens))


def test_a_partition_that_is_cut_short_shares_equally_and_keeps_the_budget(run):
    asked = {"prompt": LONG, "target": TARGET, "algorithm": "partition"}
    root = run("explain/shap", **asked, budget=5)
    assert root.evaluations == 4
    assert len({round(v, 6) for v in root.values[:10]}) == 1, "the first sentence was left closed"
    assert len({round(v, 6) for v in root.values}) == 2
    some, again = (run("explain/shap", **asked, budget=61, seed=4) for _ in range(2))
    assert some.evaluations <= 61
    assert some.values == again.values
    assert abs(some.completeness_gap) < 1e-4
    assert run("explain/shap", **asked | {"prompt": "Mary"}, budget=4).algorithm == "exact"


@pytest.mark.parametrize("algorithm", ["auto", "kernel", "permutation"])
def test_auto_stops_where_the_tolerance_is_met(run, algorithm):
    asked = {"prompt": LONG, "target": " a", "algorithm": algorithm, "budget": "auto", "max_budget": 2000}
    loose, tight = (run("explain/shap", **asked, tolerance=t) for t in (0.6, 0.25))
    for result, tolerance in ((loose, 0.6), (tight, 0.25)):
        assert result.stopped.tolerance == tolerance
        assert result.stopped.largest_standard_error == max(result.standard_errors)
        assert (result.stopped.reason == "tolerance") == (max(result.standard_errors) <= tolerance)
        assert result.evaluations <= 2000
    assert loose.stopped.reason == "tolerance"
    assert loose.evaluations < tight.evaluations
    never = run("explain/shap", **asked | {"max_budget": 150}, tolerance=1e-6)
    assert never.stopped.reason == "budget"
    assert never.evaluations <= 150


def test_what_stops_early_is_what_that_budget_gives(run):
    asked = {"prompt": LONG, "target": " a", "algorithm": "kernel", "seed": 5}
    auto = run("explain/shap", **asked, budget="auto", tolerance=0.4)
    fixed = run("explain/shap", **asked, budget=auto.evaluations)
    np.testing.assert_allclose(auto.values, fixed.values, atol=1e-4)  # batches of other sizes round otherwise
    assert fixed.stopped is None


def test_auto_is_exact_where_all_fit(run):
    result = run("explain/shap", prompt="Mary and John", target=" a", budget="auto")
    assert (result.algorithm, result.stopped.reason, result.stopped.largest_standard_error) == ("exact", "exact", 0)


def test_batches_do_not_change_the_answer(run, monkeypatch):
    from explaind_worker.engine.scoring import value_function

    asked = {"prompt": LONG, "target": " a", "budget": "auto", "tolerance": 0.3, "interactions": True}
    whole = run("explain/shap", **asked)
    monkeypatch.setattr(value_function, "SLAB_TOKENS", 100)
    parts = run("explain/shap", **asked)
    assert parts.evaluations == whole.evaluations
    np.testing.assert_allclose(parts.values, whole.values, atol=1e-3)
    np.testing.assert_allclose(parts.interactions.values, whole.interactions.values, atol=1e-3)


def test_interactions_are_the_index_of_plain_forwards(loaded, run):
    game = PlainGame(loaded("llama"), SHORT, TARGET)
    exact = ExactInteractions(game.units)
    expected = exact.estimate(game.play(exact.coalitions)[:, None]).values
    for params in ({}, {"algorithm": "exact"}, {"algorithm": "partition"}):
        result = run("explain/shap", prompt=SHORT, target=TARGET, interactions=True, **params)
        np.testing.assert_allclose(result.interactions.values, expected, atol=2e-3)
        assert result.interactions.standard_errors is None


def test_sampled_interactions_are_symmetric_and_refused_where_they_cannot_be(run):
    result = run("explain/shap", prompt=LONG, target=" a", interactions=True, budget=1700)
    values = np.array(result.interactions.values)
    assert values.shape == (len(result.units),) * 2
    np.testing.assert_array_equal(values, values.T)
    assert result.interactions.standard_errors is None, "of two rounds"
    assert "interactions have no standard errors" in result.notes[-1]
    assert result.interactions.evaluations <= 1700
    assert run("explain/shap", prompt=LONG, target=" a").interactions is None
    with pytest.raises(BudgetTooSmall) as caught:
        run("explain/shap", prompt=LONG, target=" a", interactions=True, budget=300)
    assert [e.pointer for e in caught.value.errors] == ["/budget"]
