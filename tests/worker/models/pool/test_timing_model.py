"""What a worker learns of how long work takes, from measurements that were made up."""

import pytest

from explaind_worker.models.loading.meta_model import Shape
from explaind_worker.models.pool.timing_model import MOST_SURPRISE, Measurement, TimingModel, Work, operations

SHAPE = Shape(blocks=1_000_000, unembedding=500_000)
TRUE = TimingModel(job_s=0.01, forward_s=0.02, operation_s=1e-10, basis="measured")
LARGE, SMALL = Work(forwards=3, tokens=9000, reads=300), Work(forwards=20, tokens=60, reads=20)


def measured(work: Work, factor: float = 1.0) -> Measurement:
    return Measurement(work, factor * TRUE.seconds(SHAPE, work))


def test_operations_are_two_for_each_weight_and_place():
    assert operations(SHAPE, Work(1, 10, 0, 2)) == 2 * (10 * 1_000_000 + 2 * 500_000)
    assert operations(SHAPE, Work(1, 10, 10, 0)) == 2 * operations(SHAPE, Work(1, 10, 0, 0)), (
        "and as much on the way back"
    )


def test_two_forwards_tell_what_one_costs_and_what_a_token_does():
    short, long = Work(1, 2, 0, 1), Work(1, 128, 0, 1)
    pace = TimingModel.calibrated(
        SHAPE,
        Measurement(short, 0.02 + 1e-10 * operations(SHAPE, short)),
        Measurement(long, 0.02 + 1e-10 * operations(SHAPE, long)),
    )
    assert (pace.forward_s, pace.operation_s) == (pytest.approx(0.02), pytest.approx(1e-10))
    assert pace.basis == "calibrated"


def test_a_long_forward_that_was_no_slower_gives_no_nonsense():
    pace = TimingModel.calibrated(SHAPE, Measurement(Work(1, 2, 0, 1), 0.02), Measurement(Work(1, 128, 0, 1), 0.019))
    assert pace.operation_s > 0
    assert pace.seconds(SHAPE, Work(1, 128, 0, 1)) == pytest.approx(0.02 + pace.job_s, rel=0.1)


@pytest.mark.parametrize("off", [0.2, 0.7, 1.5, 6.0])
def test_jobs_teach_what_they_cost(off):
    start = TimingModel(0.01, 0.02 * off, 1e-10 * off, "assumed")
    learnt = start.learnt(SHAPE, [measured(LARGE), measured(SMALL)] * 6)
    assert learnt.basis == "measured"
    for work in (LARGE, SMALL):
        assert learnt.seconds(SHAPE, work) == pytest.approx(TRUE.seconds(SHAPE, work), rel=0.05)


def test_a_large_job_says_little_of_what_a_forward_costs():
    start = TimingModel(0.01, 0.02, 1e-10, "calibrated")
    slow = Work(forwards=1, tokens=1_000_000)
    learnt = start.learnt(SHAPE, [Measurement(slow, 2 * start.seconds(SHAPE, slow))] * 10)
    assert learnt.operation_s == pytest.approx(2e-10, rel=0.02)
    assert learnt.forward_s == pytest.approx(0.02, rel=0.01)


def test_one_odd_job_moves_it_by_no_more_than_it_may():
    start = TimingModel(0.01, 0.02, 1e-10, "calibrated")
    odd = start.learnt(SHAPE, [measured(LARGE, factor=1000)])
    assert odd.seconds(SHAPE, LARGE) <= MOST_SURPRISE * start.seconds(SHAPE, LARGE)
    assert odd.learnt(SHAPE, [measured(LARGE)] * 4).seconds(SHAPE, LARGE) == pytest.approx(
        TRUE.seconds(SHAPE, LARGE), rel=0.2
    )


def test_nothing_measured_nothing_learnt():
    start = TimingModel.assumed(10**9, 1e11, on_gpu=False)
    assert start.learnt(SHAPE, []) == start
    assert start.learnt(SHAPE, [Measurement(SMALL, 0.0)]) == start, "a clock that stood still"
    assert start.seconds(SHAPE, SMALL) > SMALL.forwards * 10**9 / 1e10, "each forward reads all weights"
