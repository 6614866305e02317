"""captum's drawing of coalitions can be followed, and stopped, while it goes on."""

import threading

import numpy as np
import pytest
import torch

from explaind_worker.libraries import captum, shap_partition
from explaind_worker.libraries.global_rng import GlobalRng

UNITS = 6
CALLS = {
    "kernel": lambda play, drawn: captum.kernel_shap(play, UNITS, n_samples=1500, seed=1, drawn=drawn),
    "lime": lambda play, drawn: captum.lime(
        play, UNITS, n_samples=1500, kernel_width=1.0, distance="cosine", alpha=0.01, seed=1, drawn=drawn
    ),
    "shapley": lambda play, drawn: captum.shapley_sampling(play, UNITS, n_samples=250, seed=1, drawn=drawn),
}


def partition(play, stop):
    clustering = np.array([[0, 1, 2, 2]], dtype=float)
    return shap_partition.partition(play, clustering, budget=8, seed=0, while_waiting=stop)


def _started(thread, taken):
    thread.start()
    assert taken.wait(30)


class Stopped(Exception):
    """What a cancelled job raises at a checkpoint."""


def additive(coalitions):
    return coalitions @ np.arange(1.0, UNITS + 1)[:, None]


@pytest.mark.parametrize("method", CALLS)
def test_every_few_hundred_coalitions_there_is_a_checkpoint(method):
    told, evaluated_after = [], []

    def play(coalitions):
        evaluated_after.append(len(told))
        return additive(coalitions)

    CALLS[method](play, told.append)
    assert told[:5] == pytest.approx([256, 512, 768, 1024, 1280], abs=UNITS)
    assert evaluated_after == [5], "all are drawn before the first is evaluated"
    assert told[5:] == told[:5], "and once more, to be told the scores"


@pytest.mark.parametrize("method", CALLS)
def test_a_stop_ends_the_drawing_and_gives_the_random_numbers_back(method):
    told = []

    def drawn(number):
        told.append(number)
        raise Stopped

    before = torch.get_rng_state()
    with pytest.raises(Stopped):
        CALLS[method](additive, drawn)
    assert len(told) == 1
    assert torch.equal(torch.get_rng_state(), before)
    with GlobalRng(0).held():
        pass  # nobody holds them


@pytest.mark.parametrize("method", ["kernel", "shapley", "partition"])
def test_a_wait_for_anothers_random_numbers_is_a_checkpoint(method):
    held, done = threading.Event(), threading.Event()

    def hold():
        with GlobalRng(0).held():
            held.set()
            done.wait(30)

    def stop(_drawn=0):
        raise Stopped

    other = threading.Thread(target=hold)
    other.start()
    try:
        assert held.wait(30)
        with pytest.raises(Stopped):
            partition(additive, stop) if method == "partition" else CALLS[method](additive, stop)
    finally:
        done.set()
        other.join()


def test_a_wait_given_up_while_the_model_computes_leaves_nothing_held():
    draws = GlobalRng(1, while_waiting=lambda: (_ for _ in ()).throw(Stopped))
    taken, done = threading.Event(), threading.Event()

    def take():
        with GlobalRng(2).held():
            taken.set()
            done.wait(30)

    other = threading.Thread(target=take)
    try:
        with pytest.raises(Stopped), draws.held(), draws.given_back():
            _started(other, taken)
    finally:
        done.set()
        other.join()
    with GlobalRng(3).held():
        pass


@pytest.mark.parametrize("method", ["kernel", "lime"])
def test_scores_that_are_all_zero_have_coefficients_of_zero(method):
    found = CALLS[method](lambda coalitions: np.zeros((len(coalitions), 2)), lambda _drawn: None)
    np.testing.assert_array_equal(found.values, np.zeros((UNITS, 2)))
