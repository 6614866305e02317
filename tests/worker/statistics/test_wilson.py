from statistics import NormalDist

import numpy as np
import pytest

from explaind_worker.statistics.wilson import wilson


@pytest.mark.parametrize(("right", "count"), [(0, 8), (1, 10), (5, 8), (50, 100), (8, 8)])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_the_ends_are_where_the_normal_test_just_rejects(right, count, confidence):
    """What defines the interval: at its ends p the share lies z standard errors of p away."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    low, high = wilson(right, count, confidence)
    assert 0 <= low <= right / count <= high <= 1
    for end in (low, high):
        if 0 < end < 1:
            assert abs(right / count - end) == pytest.approx(z * np.sqrt(end * (1 - end) / count))


def test_known_values():
    assert wilson(5, 8, 0.95) == pytest.approx((0.3057, 0.8632), abs=1e-4)
    assert wilson(0, 8, 0.95)[0] == 0
    assert wilson(8, 8, 0.95)[1] == 1
    assert wilson(0, 0, 0.95) == (0, 1)


def test_it_covers_what_is_true_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = [low <= 0.3 <= high for n in rng.binomial(40, 0.3, 1000) for low, high in [wilson(int(n), 40, 0.9)]]
    assert 0.86 < np.mean(covered) < 0.95
