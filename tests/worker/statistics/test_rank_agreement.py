"""Agreement of attributions, against scipy and by hand."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from explaind_worker.statistics.rank_agreement import cosine, spearman, top_overlap


@pytest.mark.parametrize("seed", range(5))
def test_spearman_equals_scipy_with_ties_and_without(seed):
    rng = np.random.default_rng(seed)
    smooth = rng.normal(size=(4, 17))
    tied = rng.integers(-2, 3, size=(4, 17)).astype(float)
    for values in (smooth, tied, np.vstack([smooth, tied])):
        np.testing.assert_allclose(spearman(values), spearmanr(values, axis=1).statistic, atol=1e-12)


def test_spearman_sees_the_order_alone():
    values = np.array([[1.0, 2.0, 3.0, 4.0], [-9.0, 0.0, 0.1, 1e9], [4.0, 3.0, 2.0, 1.0]])
    np.testing.assert_allclose(spearman(values), [[1, 1, -1], [1, 1, -1], [-1, -1, 1]])


def test_equal_values_have_no_order():
    found = spearman(np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 3.0]]))
    assert np.isnan(found[0, 1])
    assert found.diagonal().tolist() == [1.0, 1.0]
    one_unit = spearman(np.array([[1.0], [2.0]]))
    assert np.isnan(one_unit[0, 1])


def test_cosine_is_that_of_the_vectors():
    values = np.random.default_rng(0).normal(size=(3, 8))
    expected = values @ values.T / np.outer(*[np.linalg.norm(values, axis=1)] * 2)
    np.testing.assert_allclose(cosine(values), expected, atol=1e-12)
    np.testing.assert_allclose(cosine(values * [[1e-200], [1.0], [1e200]]), expected, atol=1e-12)
    assert np.isnan(cosine(np.array([[0.0, 0.0], [1.0, 2.0]]))[0, 1])
    assert cosine(np.zeros((2, 3))).diagonal().tolist() == [1.0, 1.0]


def test_overlap_is_of_the_strongest_whatever_their_sign():
    values = np.array([[9.0, -8.0, 1.0, 0.0, 0.5], [-9.0, 0.0, 8.0, 0.0, 0.0], [0.0, 0.0, 0.0, 5.0, 6.0]])
    assert top_overlap(values, 2).tolist() == [[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]]
    assert top_overlap(values, 5).tolist() == np.ones((3, 3)).tolist()
    assert top_overlap(values, 1).tolist() == [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]


def test_of_equal_magnitudes_the_earlier_counts():
    values = np.array([[1.0, -1.0, 1.0], [1.0, 0.0, 0.0]])
    assert top_overlap(values, 1)[0, 1] == 1.0
