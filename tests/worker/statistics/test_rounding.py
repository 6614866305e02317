"""Differences that are only rounding, in float32 and in bfloat16."""

import numpy as np
import pytest
import torch

from explaind_worker.statistics.rounding import alike, rounding_error

FLOAT32, BFLOAT16 = torch.finfo(torch.float32).eps, torch.finfo(torch.bfloat16).eps


@pytest.mark.parametrize(("eps", "noise"), [(FLOAT32, 4e-6), (BFLOAT16, 2e-2)])
def test_noise_of_the_dtype_is_no_difference_and_ten_times_as_much_is(eps, noise):
    for size in (1.0, 7.0, 30.0):
        assert alike(-size, -size * (1 + noise), size=size, eps=eps)
        assert not alike(-size, -size * (1 + 10 * noise), size=size, eps=eps)


def test_scores_that_cancel_are_as_exact_as_what_they_came_from():
    assert alike(0.0, 1e-4, size=30.0, eps=FLOAT32)
    assert not alike(0.0, 1e-4, size=1.0, eps=FLOAT32)


def test_small_probabilities_are_told_apart():
    assert not alike(1e-7, 2e-7, size=0.0, eps=FLOAT32)
    assert alike(1e-7, 1e-7 * (1 + 1e-6), size=0.0, eps=FLOAT32)


def test_a_float64_model_is_held_to_its_own_eps():
    assert rounding_error(1.0, eps=float(np.finfo(np.float64).eps)) < 1e-13


@pytest.mark.parametrize(("dtype", "eps"), [(torch.float32, FLOAT32), (torch.bfloat16, BFLOAT16)])
def test_products_in_another_order_are_alike(dtype, eps):
    """A deep chain of rounded layers, its sums taken forwards and backwards."""
    torch.manual_seed(0)
    stream = other = torch.randn(256).to(dtype)
    for _ in range(12):
        weight = (torch.randn(256, 256) / 256).to(dtype)
        stream = (stream + torch.tanh(weight @ stream)).to(dtype)
        other = (other + torch.tanh(weight.flip(1) @ other.flip(0))).to(dtype)
    one, two = float(stream.float().sum() / 16), float(other.float().sum() / 16)
    assert alike(one, two, size=float(stream.abs().max()), eps=eps)
