"""Interaction indices against their definition by brute force, and the sampled ones against the exact."""

from itertools import combinations
from math import factorial

import numpy as np
import pytest

from explaind_worker.estimators.hierarchy import hierarchy
from explaind_worker.estimators.interactions import ExactInteractions, SampledInteractions, _zigzags, round_cost


def table_game(units, seed):
    table = np.random.default_rng(seed).normal(size=(2**units, 2))
    return lambda coalitions: table[coalitions @ (1 << np.arange(units))]


def by_definition(play, units, i, j):
    others = [u for u in range(units) if u not in (i, j)]

    def value(members):
        return play(np.isin(np.arange(units), members)[None]).sum()

    total = 0.0
    for size in range(units - 1):
        weight = factorial(size) * factorial(units - size - 2) / factorial(units - 1)
        for s in combinations(others, size):
            total += weight * (value([*s, i, j]) - value([*s, i]) - value([*s, j]) + value([*s]))
    return total


def estimate(estimator, play):
    return estimator.estimate(play(estimator.coalitions))


@pytest.mark.parametrize("units", [2, 3, 5, 6])
def test_exact_is_the_definition(units):
    play = table_game(units, seed=units)
    found = estimate(ExactInteractions(units), play).values
    for i, j in combinations(range(units), 2):
        assert found[i, j] == pytest.approx(by_definition(play, units, i, j))
    np.testing.assert_array_equal(found, found.T)
    assert not found.diagonal().any()


@pytest.mark.parametrize("units", [2, 3, 6, 7, 20])
def test_zigzags_meet_every_pair_equally_often(units):
    met = np.zeros((units, units), dtype=int)
    for walk in _zigzags(units):
        assert sorted(walk) == list(range(units))
        np.add.at(met, (walk[:-1], walk[1:]), 1)
    met += met.T
    assert set(met[~np.eye(units, dtype=bool)].tolist()) == {1 if units % 2 == 0 else 2}


@pytest.mark.parametrize("units", [5, 6])
def test_sampled_is_unbiased_and_its_errors_are_honest(units):
    play = table_game(units, seed=1)
    exact = estimate(ExactInteractions(units), play).values
    runs = [estimate(SampledInteractions(units, 20 * round_cost(units), seed), play) for seed in range(60)]
    mean = np.mean([run.values for run in runs], axis=0)
    error_of_mean = np.sqrt(np.mean([run.standard_errors**2 for run in runs], axis=0) / len(runs))
    pairs = ~np.eye(units, dtype=bool)
    assert (np.abs(mean - exact)[pairs] < 4 * error_of_mean[pairs]).all()
    inside = [np.abs(run.values - exact)[pairs] < 1.96 * run.standard_errors[pairs] for run in runs]
    assert 0.88 <= np.mean(inside) <= 0.99


def test_only_pairs_that_interact_get_something():
    def play(coalitions):
        z = coalitions.astype(float)
        return (3 * z[:, 0] + 2 * z[:, 1] * z[:, 4] - z[:, 2] * z[:, 3])[:, None]

    for found in (estimate(ExactInteractions(7), play), estimate(SampledInteractions(7, 100, 0), play)):
        expected = np.zeros((7, 7))
        expected[1, 4] = expected[4, 1] = 2
        expected[2, 3] = expected[3, 2] = -1
        np.testing.assert_allclose(found.values, expected, atol=1e-12)


def test_a_seed_means_the_same_pairs():
    first, again, other = (SampledInteractions(9, 300, seed).coalitions for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_hierarchy_keeps_groups_together():
    places = [(0, 0, 0), (0, 0, 1), (0, 0, 1), (0, 1, 2), (0, 1, 3), (1, 2, 4)]
    members = [{u} for u in range(6)]
    for left, right, _, size in hierarchy(places):
        joined = members[int(left)] | members[int(right)]
        assert len(joined) == size
        members.append(joined)
    for together in ({1, 2}, {0, 1, 2}, {3, 4}, {0, 1, 2, 3, 4}, set(range(6))):
        assert together in members
    assert len(hierarchy([(0,)])) == 0
