"""The axioms of Shapley values, of every estimator of them, on games of numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explaind_worker.estimators.exact import ExactShapley
from explaind_worker.estimators.hierarchy import hierarchy
from explaind_worker.estimators.kernel import KernelShapley
from explaind_worker.estimators.permutation import PermutationShapley
from explaind_worker.libraries import captum, shap_partition

UNITS = 7
SEEDS_EACH = 24
PAIRED = hierarchy([(0,), (0,), *[(1,)] * (UNITS - 2)])  # Owen values are alike for twins in one group


def planned(estimator):
    return lambda play: estimator.estimate(play(estimator.coalitions)).values


FINDERS = {
    "exact": lambda seed: planned(ExactShapley(UNITS)),
    "kernel": lambda seed: planned(KernelShapley(UNITS, 60, seed)),
    "permutation": lambda seed: planned(PermutationShapley(UNITS, 60, seed)),
    "partition": lambda seed: lambda play: shap_partition.partition(play, PAIRED, budget=1000, seed=seed)[0],
    "captum sampling": lambda seed: lambda play: captum.shapley_sampling(play, UNITS, n_samples=5, seed=seed).values,
    "captum kernel": lambda seed: lambda play: captum.kernel_shap(play, UNITS, n_samples=60, seed=seed).values,
}
# captum adds up in float32 and meets full − empty by a large weight.
TOLERANCE = {"captum sampling": 1e-4, "captum kernel": 1e-2}
WALKS = ["exact", "permutation", "partition", "captum sampling"]  # in these a unit is compared with itself absent
BITS = 1 << np.arange(UNITS)


def game(seed, of=UNITS):
    table = np.random.default_rng(seed).normal(size=(2**of, 2))
    return lambda coalitions: table[coalitions[:, :of] @ BITS[:of]]


def change(play):
    ends = play(np.stack([np.zeros(UNITS, dtype=bool), np.ones(UNITS, dtype=bool)]))
    return ends[1] - ends[0]


SEEDS = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("name", FINDERS)
@settings(max_examples=8, deadline=None)
@given(seed=SEEDS)
def test_efficiency(name, seed):
    play = game(seed)
    np.testing.assert_allclose(FINDERS[name](seed)(play).sum(axis=0), change(play), atol=TOLERANCE.get(name, 1e-8))


@pytest.mark.parametrize("name", FINDERS)
@settings(max_examples=8, deadline=None)
@given(seed=SEEDS, a=st.floats(-3, 3), b=st.floats(-3, 3))
def test_linearity(name, seed, a, b):
    find, one, two = FINDERS[name](seed), game(seed), game(seed + 1)
    found = find(lambda coalitions: a * one(coalitions) + b * two(coalitions))
    np.testing.assert_allclose(found, a * find(one) + b * find(two), atol=TOLERANCE.get(name, 1e-7))


@pytest.mark.parametrize("name", WALKS)
@settings(max_examples=8, deadline=None)
@given(seed=SEEDS)
def test_a_null_player_gets_nothing(name, seed):
    values = FINDERS[name](seed)(game(seed, of=UNITS - 1))
    np.testing.assert_allclose(values[-1], 0, atol=1e-9)
    assert np.abs(values[:-1]).max() > 1e-3


@pytest.mark.parametrize("name", FINDERS)
def test_a_null_player_gets_nothing_on_average(name):
    play = game(3, of=UNITS - 1)
    runs = [FINDERS[name](seed)(play).sum(axis=1)[-1] for seed in range(SEEDS_EACH)]
    assert abs(np.mean(runs)) <= 4 * np.std(runs) / np.sqrt(len(runs)) + 0.02


@pytest.mark.parametrize("name", FINDERS)
def test_twins_get_the_same_on_average(name):
    table = np.random.default_rng(4).normal(size=(2**UNITS, 1))

    def play(coalitions):
        swapped = coalitions.copy()
        swapped[:, [0, 1]] = swapped[:, [1, 0]]
        return table[coalitions @ BITS] + table[swapped @ BITS]

    gaps = [np.subtract(*FINDERS[name](seed)(play)[:2, 0]) for seed in range(SEEDS_EACH)]
    assert abs(np.mean(gaps)) <= 4 * np.std(gaps) / np.sqrt(len(gaps)) + 1e-6


@pytest.mark.parametrize("name", [name for name in FINDERS if name not in ("exact", "partition")])
def test_another_seed_means_other_numbers(name):
    play = game(5)
    assert not np.array_equal(FINDERS[name](1)(play), FINDERS[name](2)(play))


def test_a_larger_budget_goes_on_where_the_smaller_ended():
    for make in (KernelShapley, PermutationShapley):
        small, large = ({row.tobytes() for row in make(20, b, 3).coalitions} for b in (200, 400))
        assert len(small & large) == len(small)
