"""What the running method is told, and how often the store is asked."""

from dataclasses import replace

import pytest

from explaind.contract.errors import DeadlineExceeded, StoreUnavailable
from explaind.contract.job import Progress
from explaind_jobs.store.records import Claim, LeaseStatus
from explaind_worker.runtime.job_control import HeldJobs, JobControl
from explaind_worker.stops import Cancelled, LeaseLost, Released

CLAIM = Claim("job_1", 2, "explain/shap", "demo", b"{}", 0.0)


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Book:
    """Writes down the progress it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, int]] = []
        self.standing = LeaseStatus.HELD
        self.down = False

    def progress(self, job_id: str, attempt: int, progress: Progress) -> LeaseStatus:
        if self.down:
            raise StoreUnavailable("down")
        self.told.append((job_id, attempt, progress.done))
        return self.standing


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def control(clock: Clock, book: Book) -> JobControl:
    return JobControl(CLAIM, book, deadline_s=60, clock=clock)


def test_the_store_hears_ten_times_a_second(control: JobControl, clock: Clock, book: Book) -> None:
    for step in range(1000):
        control.report_progress("evaluating", step, 1000, "coalitions")
        clock.now += 0.001
    assert 9 <= len(book.told) <= 11
    assert book.told[0] == ("job_1", 2, 0)


@pytest.mark.parametrize(("order", "raised"), [("cancel", Cancelled), ("lose", LeaseLost), ("release", Released)])
def test_orders_are_heard_at_the_next_checkpoint(control: JobControl, order: str, raised: type[Exception]) -> None:
    control.report_progress("evaluating", 0, None, "tokens")
    getattr(control, order)()
    assert control.stopping
    with pytest.raises(raised):
        control.report_progress("evaluating", 1, None, "tokens")


def test_a_lost_lease_weighs_most(control: JobControl) -> None:
    control.release()
    control.cancel()
    with pytest.raises(Cancelled):
        control.check()
    control.lose()
    with pytest.raises(LeaseLost):
        control.check()


@pytest.mark.parametrize(("standing", "raised"), [(LeaseStatus.CANCEL, Cancelled), (LeaseStatus.LOST, LeaseLost)])
def test_the_store_answers_with_orders(
    control: JobControl, book: Book, standing: LeaseStatus, raised: type[Exception]
) -> None:
    book.standing = standing
    with pytest.raises(raised):
        control.report_progress("evaluating", 0, None, "tokens")


@pytest.mark.parametrize(("wished_s", "deadline_s"), [(None, 60), (10.0, 10), (600.0, 60)])
def test_a_caller_may_shorten_the_deadline_and_not_lengthen_it(book: Book, wished_s: float, deadline_s: int) -> None:
    assert JobControl(replace(CLAIM, timeout_s=wished_s), book, deadline_s=60).deadline_s == deadline_s


def test_the_deadline(control: JobControl, clock: Clock) -> None:
    clock.now += 60
    control.check()
    clock.now += 0.1
    with pytest.raises(DeadlineExceeded, match="60 s"):
        control.report_progress("evaluating", 0, None, "tokens")


def test_the_work_goes_on_without_a_store(control: JobControl, clock: Clock, book: Book) -> None:
    book.down = True
    control.report_progress("evaluating", 0, None, "tokens")
    book.down = False
    clock.now += 1
    control.report_progress("evaluating", 1, None, "tokens")
    assert book.told == []
    clock.now += 1
    control.report_progress("evaluating", 2, None, "tokens")
    assert [done for *_, done in book.told] == [2]


def test_held_jobs_learn_what_the_store_says(control: JobControl) -> None:
    held = HeldJobs()
    held.add(control)
    assert held.pairs() == [("job_1", 2)]
    held.learn([("job_1", LeaseStatus.HELD), ("job_9", LeaseStatus.LOST)])
    control.check()
    held.learn([("job_1", LeaseStatus.CANCEL)])
    with pytest.raises(Cancelled):
        control.check()
    held.remove(control)
    assert held.find("job_1") is None
