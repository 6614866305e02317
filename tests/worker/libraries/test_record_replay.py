"""Record and replay, and the loan of the process's random numbers."""

import threading

import numpy as np
import pytest
import torch

from explaind_worker.libraries.global_rng import GlobalRng
from explaind_worker.libraries.record_replay import replayed


def test_what_is_asked_in_bits_is_played_once():
    played = []

    def play(coalitions):
        played.append(coalitions)
        return coalitions.sum(axis=1).astype(float)

    def ask(forward):
        return [forward(torch.bernoulli(torch.full((2, 5), 0.5))) for _ in range(4)]

    answers, count = replayed(ask, play, seed=1)
    assert count == 8
    assert len(played) == 1
    np.testing.assert_array_equal(torch.cat(answers).numpy(), played[0].sum(axis=1))


def test_questions_that_depend_on_answers_are_noticed():
    def ask(forward):
        first = forward(torch.ones(1, 3))
        return forward(torch.zeros(1, 3) if first.item() else torch.ones(1, 3))

    def ask_less(forward):
        return forward(torch.ones(1, 3)).item() or forward(torch.zeros(1, 3))

    for questions in (ask, ask_less):
        with pytest.raises(RuntimeError, match="asked for other coalitions"):
            replayed(questions, lambda coalitions: np.ones(len(coalitions)), seed=0)


def test_draws_are_their_own_and_leave_others_alone():
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    found = []
    for _ in range(2):
        draws = GlobalRng(5)
        with draws.held():
            first = torch.rand(3), np.random.rand(3)
            with draws.given_back():
                torch.manual_seed(1)
                torch.rand(7)
                torch.set_rng_state(torch_before)
            found.append((*first, torch.rand(3)))
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)
    assert torch.equal(torch.get_rng_state(), torch_before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)


def test_threads_do_not_disturb_each_other():
    expected = {}
    for seed in (1, 2):
        with GlobalRng(seed).held():
            expected[seed] = torch.rand(50)
    found = {}

    def draw(seed):
        draws, parts = GlobalRng(seed), []
        with draws.held():
            for _ in range(50):
                parts.append(torch.rand(1))
                with draws.given_back():
                    pass
        found[seed] = torch.cat(parts)

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    for seed in (1, 2):
        torch.testing.assert_close(found[seed], expected[seed], rtol=0, atol=0)
