"""Halving, without any model."""

import gc
import weakref

import pytest
import torch

from explaind.contract.errors import OutOfMemory
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.oom_backoff import Backoff

ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory."),
    MemoryError(),
    RuntimeError("DefaultCPUAllocator: can't allocate memory"),
]


class Device:
    """Takes so many rows at once; runs out of memory with more."""

    def __init__(self, most, error=ERRORS[0]):
        self.most, self.error = most, error
        self.tried, self.done = [], []

    def run(self, rows):
        self.tried.append(len(rows))
        if len(rows) > self.most:
            raise self.error
        self.done += rows
        return [row * 10 for row in rows]


def answers(backoff, rows, device):
    return [answer for _, part in backoff.halving(rows, device.run) for answer in part]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("most", [1, 3, 7, 16, 17, 100])
def test_every_row_is_answered_once_and_in_order(most, error):
    device, meter = Device(most, error), CostMeter()
    rows = list(range(17))
    assert answers(Backoff(meter), rows, device) == [row * 10 for row in rows]
    assert device.done == rows
    assert (meter.backoffs > 0) == (most < 17)


def test_the_smaller_size_is_remembered():
    device, meter = Device(4), CostMeter()
    backoff = Backoff(meter)
    answers(backoff, list(range(16)), device)
    assert device.tried == [16, 8, 4, 4, 4, 4]
    device.tried.clear()
    answers(backoff, list(range(10)), device)
    assert device.tried == [4, 4, 2]
    assert meter.backoffs == 2


def test_a_failure_that_passes_costs_half_a_batch():
    device = Device(100)
    failures = [True]

    def run(rows):
        if failures:
            failures.pop()
            raise ERRORS[0]
        return device.run(rows)

    parts = [len(part) for part, _ in Backoff(CostMeter()).halving(list(range(9)), run)]
    assert parts == [4, 4, 1]


def test_a_single_row_that_does_not_fit_ends_it():
    device = Device(0)
    with pytest.raises(OutOfMemory) as caught:
        answers(Backoff(CostMeter()), [1, 2, 3, 4], device)
    assert caught.value.retryable
    assert device.tried == [4, 2, 1]


def test_other_errors_pass_at_once():
    def broken(rows):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        list(Backoff(CostMeter()).halving([1, 2], broken))


def test_what_the_failed_forward_had_made_is_gone_before_the_next():
    class Tensor:
        """Stands for something large, in a frame of the traceback and in a cycle."""

    made: list[weakref.ref] = []

    def run(rows):
        assert all(ref() is None for ref in made), "the last forward's tensors are still there"
        tensor = Tensor()
        tensor.cycle = tensor  # type: ignore[attr-defined]
        made.append(weakref.ref(tensor))
        if len(rows) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return rows

    gc.disable()
    try:
        next(Backoff(CostMeter()).halving([1, 2, 3, 4], run))
    finally:
        gc.enable()
    assert len(made) == 3
