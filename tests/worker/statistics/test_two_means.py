import numpy as np
import pytest

from explaind_worker.statistics.two_means import random_groups, two_means

CHOSEN = np.array([True] * 6 + [False] * 10)


def compared(vectors, chosen=CHOSEN, seed=0):
    return two_means(vectors, chosen, random_groups(chosen, 200, seed))


def test_it_is_the_distance_and_cosine_of_the_means():
    vectors = np.random.default_rng(1).normal(size=(16, 5))
    found = compared(vectors)
    first, second = vectors[:6].mean(0), vectors[6:].mean(0)
    assert found.l2 == pytest.approx(np.linalg.norm(first - second))
    assert found.cosine == pytest.approx(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


def test_every_random_group_has_as_many():
    groups = random_groups(CHOSEN, 50, 3)
    assert (groups.sum(1) == 6).all()
    assert len({group.tobytes() for group in groups}) > 40
    assert (groups == random_groups(CHOSEN, 50, 3)).all()


def test_groups_that_differ_stand_out_and_others_do_not():
    rng = np.random.default_rng(2)
    apart = rng.normal(size=(16, 5)) + 3.0 * CHOSEN[:, None]
    assert compared(apart).p == pytest.approx(1 / 201)
    # Without a difference the share is spread evenly.
    alike = [compared(rng.normal(size=(16, 5)), seed=seed).p for seed in range(60)]
    assert 0.35 < np.mean(alike) < 0.65
    assert np.mean(np.array(alike) < 0.05) < 0.2


def test_equal_vectors_are_no_distance_apart():
    found = compared(np.ones((16, 4)))
    assert (found.l2, found.cosine, found.p) == (pytest.approx(0), pytest.approx(1), 1.0)
    assert compared(np.zeros((16, 4))).cosine == 0
