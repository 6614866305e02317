"""Exact values against brute force, samplers against exact values, and the axioms."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explaind_worker.estimators import kernel, kernel_gls, permutation
from explaind_worker.estimators.exact import ExactShapley
from explaind_worker.estimators.kernel import KernelShapley
from explaind_worker.estimators.kernel_gls import REACH
from explaind_worker.estimators.permutation import PermutationShapley
from tests.support.reference import shapley_by_permutations

SAMPLERS = {"kernel": KernelShapley, "permutation": PermutationShapley}


def table_game(units, seed, columns=2):
    """A game without any structure: a random number for each coalition and column."""
    table = np.random.default_rng(seed).normal(size=(2**units, columns))
    bits = 1 << np.arange(units)
    return lambda coalitions: table[coalitions @ bits]


def smooth_game(units, seed):
    """A game with pairwise and saturating interactions, as language models have them."""
    rng = np.random.default_rng(seed)
    single, pair = rng.normal(size=units), rng.normal(size=(units, units)) * 0.3

    def play(coalitions):
        z = coalitions.astype(float)
        return np.stack([np.tanh(z @ single) * 3, np.einsum("ci,ij,cj->c", z, pair, z)], axis=1)

    return play


def estimate(estimator, play):
    return estimator.estimate(play(estimator.coalitions))


@pytest.mark.parametrize("units", [1, 2, 5])
def test_exact_equals_the_mean_over_all_orders(units):
    play = table_game(units, seed=units)

    def value(present):
        coalition = np.isin(np.arange(units), list(present))
        return float(play(coalition[None]).sum())

    found = estimate(ExactShapley(units), play).values.sum(axis=1)
    np.testing.assert_allclose(found, shapley_by_permutations(units, value), atol=1e-12)


@pytest.mark.parametrize("units", [2, 3, 4, 7, 8])
def test_kernel_with_every_coalition_is_exact_and_says_so(units):
    play = table_game(units, seed=3)
    estimator = KernelShapley(units, 2**units, seed=0)
    assert len(estimator.coalitions) == 2**units
    found = estimate(estimator, play)
    np.testing.assert_allclose(found.values, estimate(ExactShapley(units), play).values, atol=1e-9)
    np.testing.assert_allclose(found.standard_errors, 0, atol=1e-9)


@pytest.mark.parametrize("name", SAMPLERS)
@settings(max_examples=40, deadline=None)
@given(units=st.integers(2, 40), extra=st.integers(0, 300), seed=st.integers(0, 2**32 - 1))
def test_samplers_keep_the_budget_and_are_complete(name, units, extra, seed):
    rule = {"kernel": kernel, "permutation": permutation}[name]
    budget = rule.smallest_budget(units) + extra
    estimator = SAMPLERS[name](units, budget, seed)
    assert len(estimator.coalitions) <= budget
    assert not estimator.coalitions[0].any()
    assert estimator.coalitions[-1].all()
    play = smooth_game(units, seed % 1000)
    scores = play(estimator.coalitions)
    found = estimator.estimate(scores)
    np.testing.assert_allclose(found.values.sum(axis=0), scores[-1] - scores[0], atol=1e-6)
    if found.standard_errors is not None:
        assert (found.standard_errors >= 0).all()
        assert np.isfinite(found.standard_errors).all()


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_converge_to_the_exact_values(name):
    play = smooth_game(10, seed=1)
    exact = estimate(ExactShapley(10), play).values
    errors = []
    for budget in (60, 240, 960):
        runs = [estimate(SAMPLERS[name](10, budget, seed), play).values for seed in range(20)]
        errors.append(np.sqrt(np.mean([(run - exact) ** 2 for run in runs])))
    assert errors[0] > 1.7 * errors[1] > 1.7**2 * errors[2]
    assert errors[2] < 0.05


@pytest.mark.parametrize("name", SAMPLERS)
def test_standard_errors_cover_the_truth_as_often_as_they_claim(name):
    play = smooth_game(12, seed=2)
    exact = estimate(ExactShapley(12), play).values.sum(axis=1)
    inside = []
    for seed in range(150):
        found = estimate(SAMPLERS[name](12, 400, seed), play)
        inside.append(np.abs(found.values.sum(axis=1) - exact) <= 1.96 * found.standard_errors)
    assert 0.90 <= np.mean(inside) <= 0.99


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_seed_means_the_same_numbers(name):
    play = smooth_game(14, seed=5)
    same = [estimate(SAMPLERS[name](14, 200, 7), play).values for _ in range(2)]
    np.testing.assert_array_equal(same[0], same[1])
    assert not np.array_equal(same[0], estimate(SAMPLERS[name](14, 200, 8), play).values)


@pytest.mark.parametrize("make", [lambda: ExactShapley(6), lambda: KernelShapley(6, 40, 0),
                                  lambda: PermutationShapley(6, 200, 0)],
                         ids=["exact", "kernel", "permutation"])  # fmt: skip
def test_null_units_get_nothing_and_twins_get_the_same(make):
    def play(coalitions):
        z = coalitions.astype(float)
        return (2 * z[:, 0] + 2 * z[:, 1] - z[:, 3] + 0.5 * z[:, 4])[:, None]  # unit 2 and 5 do nothing

    values = estimate(make(), play).values[:, 0]
    np.testing.assert_allclose(values, [2, 2, 0, -1, 0.5, 0], atol=1e-9)


def test_kernel_is_no_worse_than_shap_and_half_of_captum():
    """RMS error at 256 evaluations against the exact values, over several games and seeds."""
    import shap
    import torch
    from captum.attr import KernelShap

    errors = {"ours": [], "shap": [], "captum": []}
    for game, seed in itertools.product(range(4, 9), range(6)):
        play = smooth_game(12, seed=game)
        exact = estimate(ExactShapley(12), play).values.sum(axis=1)

        def total(z, play=play):
            return play(np.asarray(z) > 0.5).sum(axis=1)

        errors["ours"].append(estimate(KernelShapley(12, 256, seed), play).values.sum(axis=1) - exact)
        np.random.seed(seed)
        explainer = shap.KernelExplainer(total, np.zeros((1, 12)))
        theirs = explainer.shap_values(np.ones((1, 12)), nsamples=256, silent=True, l1_reg=False)[0]
        errors["shap"].append(theirs - exact)
        torch.manual_seed(seed)
        kernel_shap = KernelShap(lambda z, total=total: torch.from_numpy(total(z.numpy())))
        captums = kernel_shap.attribute(torch.ones(1, 12), n_samples=256, perturbations_per_eval=512)[0]
        errors["captum"].append(captums.numpy() - exact)
    rms = {name: np.sqrt(np.mean(np.square(found))) for name, found in errors.items()}
    assert rms["ours"] <= rms["shap"]
    assert rms["ours"] <= 0.5 * rms["captum"]


def votes_game(units, rng):
    """Sums of votes: so much where k of some m units are present. Returns the game and its Shapley values."""
    single = 0.3 * rng.normal(size=units)
    values, parts = single.copy(), []
    for _ in range(6):
        many = int(rng.integers(2, units + 1))
        members = rng.choice(units, many, replace=False)
        part = (members, int(rng.integers(1, many + 1)), rng.normal())
        values[members] += part[2] / many
        parts.append(part)
    return lambda z: z @ single + sum(c * (z[:, members].sum(axis=1) >= k) for members, k, c in parts), values


def triples_game(units, rng):
    """Single units and products of three. Returns the game and its Shapley values."""
    single = rng.normal(size=units)
    terms = [(rng.choice(units, 3, replace=False), rng.normal()) for _ in range(2 * units)]
    values = single.copy()
    for members, c in terms:
        values[members] += c / 3
    return lambda z: z @ single + sum(c * z[:, members].prod(axis=1) for members, c in terms), values


GAMES = {"votes": votes_game, "triples": triples_game}


@pytest.mark.parametrize("kind", GAMES)
@pytest.mark.parametrize(("name", "times"), [("kernel", 1.25), ("kernel", 1.5), ("kernel", 3), ("permutation", 4)])
def test_standard_errors_hold_near_the_least_budget(kind, name, times):
    """An error divided by its standard error: its mean square, and how often it is under 1.96, over random games."""
    rule = {"kernel": kernel, "permutation": permutation}[name]
    parts = []
    for units, seed in itertools.product((8, 24), range(12)):
        budget = int(times * rule.smallest_budget(units))
        play, values = GAMES[kind](units, np.random.default_rng([units, seed]))
        estimator = SAMPLERS[name](units, budget, seed)
        found = estimator.estimate(play(estimator.coalitions.astype(float))[:, None])
        if found.standard_errors is None:
            continue  # these pairs do not tell the units apart, which another test is about
        error = np.abs(found.values[:, 0] - values)
        known = error < 1e-9 * np.abs(values).max()
        parts.append(np.where(known, 0.0, error / np.maximum(found.standard_errors, 1e-12)))
    assert len(parts) >= 20
    z = np.concatenate(parts)
    assert np.mean(z <= 1.96) >= 0.92
    assert np.mean(z**2) <= 1.4


@pytest.mark.parametrize(("name", "extra"), [("kernel", 0), ("kernel", 2), ("permutation", 0), ("permutation", 60)])
def test_too_few_coalitions_have_no_errors_and_say_so(name, extra):
    units = 20
    rule = {"kernel": kernel, "permutation": permutation}[name]
    estimator = SAMPLERS[name](units, rule.smallest_budget(units) + extra, 0)
    found = estimate(estimator, smooth_game(units, seed=1))
    assert found.standard_errors is None
    assert f"the {units} " in found.unsure


def test_least_squares_over_few_of_many_pairs_has_no_errors(monkeypatch):
    monkeypatch.setattr(kernel_gls, "PAIRS", 0)
    play = smooth_game(20, seed=1)
    assert estimate(KernelShapley(20, 70, 0), play).standard_errors is None
    assert (estimate(KernelShapley(20, 90, 0), play).standard_errors > 0).all()


def test_pairs_that_do_not_tell_the_units_apart_have_no_errors():
    """One unit that stands on the same side as another in every pair: the regression cannot divide what they do."""
    half = np.random.default_rng(0).random((12, 5)) < 0.5
    half[:, 1] = half[:, 0]
    found = kernel_gls.estimate(half, np.where(half, 1.0, -1.0) @ np.arange(5.0)[:, None], np.array([10.0]))
    assert found.standard_errors is None
    assert "5 values" in found.unsure


def test_errors_of_a_regression_with_few_pairs_are_honest():
    """Of games drawn from the prior that it expects, with three degrees of freedom left."""
    units = 8
    estimator = KernelShapley(units, budget=2 * (units + 3), seed=0)
    exact = ExactShapley(units)
    signs = np.where(exact.coalitions, 1.0, -1.0)
    terms = [members for order in (1, 3, 5, 7) for members in itertools.combinations(range(units), order)]
    products = np.stack([signs[:, members].prod(axis=1) for members in terms], axis=1)  # [coalition, term]
    spread = np.array([(REACH / units) ** (len(members) / 2) for members in terms])
    games = products @ (spread[:, None] * np.random.default_rng(1).normal(size=(len(terms), 300)))
    asked = estimator.coalitions @ (1 << np.arange(units))
    z = []
    for scores in games.T[:, :, None]:
        found = estimator.estimate(scores[asked])
        z.append((found.values - exact.estimate(scores).values)[:, 0] / found.standard_errors)
    assert 0.92 <= np.mean(np.abs(z) <= 1.96) <= 0.99
    assert 0.6 <= np.mean(np.square(z)) <= 1.2
