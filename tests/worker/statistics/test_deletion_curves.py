"""Orders of removal: which coalitions they ask for, and what is read from the scores."""

import numpy as np
import pytest

from explaind_worker.statistics.deletion_curves import Removal, areas, descending


def score_of_sets(worth):
    """A score that tells every coalition from every other."""
    return lambda coalitions: coalitions @ worth + np.sin(coalitions @ np.arange(1, len(worth) + 1) ** 2)


@pytest.mark.parametrize("units", [1, 2, 5, 9])
def test_curves_are_those_of_removing_and_inserting_one_at_a_time(units):
    order = np.random.default_rng(1).permutation(units)
    removal = Removal(order, range(units + 1), 4, seed=2)
    score = score_of_sets(np.arange(units) - 1.5)
    deletion, insertion = removal.curves(score(removal.coalitions))
    assert deletion.shape == insertion.shape == (5, units + 1)
    for count in range(units + 1):
        gone = np.isin(np.arange(units), order[:count])
        assert deletion[0, count] == score(~gone)
        assert insertion[0, count] == score(gone)
    everything, nothing = score(np.ones(units, dtype=bool)), score(np.zeros(units, dtype=bool))
    assert set(deletion[:, 0]) == set(insertion[:, -1]) == {everything}
    assert set(deletion[:, -1]) == set(insertion[:, 0]) == {nothing}


def test_coalitions_are_asked_for_once():
    removal = Removal(np.arange(6), range(7), 50, seed=0)
    assert len(np.unique(removal.coalitions, axis=0)) == len(removal.coalitions) <= 2**6


def test_random_orders_share_the_coalitions_of_their_two_ways():
    units, orders = 30, 10
    removal = Removal(np.arange(units), range(units + 1), orders, seed=0)
    assert len(removal.coalitions) <= (orders + 2) * (units - 1) + 2


def test_a_seed_is_an_answer():
    def curves(seed):
        removal = Removal(np.arange(8), range(9), 5, seed)
        return np.stack(removal.curves(score_of_sets(np.arange(8.0))(removal.coalitions)))

    np.testing.assert_array_equal(curves(3), curves(3))
    assert np.abs(curves(3)[:, 1:] - curves(4)[:, 1:]).max() > 0.1
    np.testing.assert_array_equal(curves(3)[:, 0], curves(4)[:, 0])


def test_every_unit_is_as_likely_to_go_first():
    removal = Removal(np.arange(4), [0, 1, 4], 2000, seed=0)
    worth = np.array([1.0, 10.0, 100.0, 1000.0])
    deletion, insertion = removal.curves(removal.coalitions @ worth)
    for curves in (worth.sum() - deletion[1:, 1], insertion[1:, 1]):
        _, times = np.unique(curves, return_counts=True)
        assert len(times) == 4
        assert np.abs(times - 500).max() < 100


def test_equal_values_go_in_the_order_of_the_prompt():
    assert descending(np.array([0.0, 2.0, 1.0, 2.0, -1.0, 0.0])).tolist() == [1, 3, 2, 0, 5, 4]
    assert descending(np.zeros(5)).tolist() == list(range(5))


def test_areas_are_those_of_trapezoids():
    x = np.array([0.0, 0.25, 1.0])
    assert areas(x, np.array([[1.0, 1.0, 1.0], [0.0, 4.0, 0.0]])).tolist() == [1.0, 2.0]
    points = np.sort(np.random.default_rng(0).random(9))
    line = 3 * points - 1
    assert areas(points, line[None])[0] == pytest.approx((points[-1] - points[0]) * (line[0] + line[-1]) / 2)
