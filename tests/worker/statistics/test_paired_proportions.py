import numpy as np
import pytest

from explaind_worker.statistics.paired_proportions import paired_difference


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        # Fagerland, Lydersen & Laake 2017, Statistical Analysis of Contingency Tables, chapter 8: Newcombe's interval
        # of complete response before and after therapy (Cavo et al. 2012).
        ((59, 6, 16, 80), -0.1186, -0.0046),
        # The same two times: the interval is that of no difference, and not a point.
        ((5, 0, 0, 3), -0.2171, 0.2171),
    ],
)
def test_known_values(table, low, high):
    assert paired_difference(*table, 0.95) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_the_ends_hold_the_difference_and_stay_within_one(confidence):
    for table in np.ndindex(4, 4, 4, 4):
        both, first, second, neither = table
        low, high = paired_difference(*table, confidence)
        assert -1 <= low <= high <= 1
        if any(table):
            assert low <= (first - second) / sum(table) <= high
        # Which time is the first one is a matter of sign.
        assert paired_difference(both, second, first, neither, confidence) == pytest.approx((-high, -low))


def test_it_covers_what_is_true_about_as_often_as_it_says():
    rng, shares = np.random.default_rng(0), [0.4, 0.25, 0.05, 0.3]
    ends = [paired_difference(*table, 0.9) for table in rng.multinomial(30, shares, 1500).tolist()]
    assert 0.87 < np.mean([low <= 0.2 <= high for low, high in ends]) < 0.95
