"""The progress of a job as its parts report it, made one count for each phase."""

import pytest

from explaind_worker.session.phases import Phases


def counts(*reports: tuple[str, int, int | None]) -> list[tuple[int, int | None]]:
    phases = Phases()
    told = [phases.report(phase, done, total, "rows") for phase, done, total in reports]
    return [(now.done, now.total) for now in told]


def test_a_phase_that_is_passed_again_goes_on_counting() -> None:
    first, second, third = ("a", 8, 8), ("a", 0, 2), ("a", 2, 2)
    assert counts(("a", 0, 8), first, second, third) == [(0, 8), (8, 8), (8, 10), (10, 10)]
    assert counts(first, ("b", 1, 1), second, third) == [(8, 8), (1, 1), (8, 10), (10, 10)]


def test_a_total_that_was_too_small_grows_and_one_that_was_too_large_shrinks() -> None:
    assert counts(("a", 3, 2), ("a", 5, 2)) == [(3, 3), (5, 5)]
    assert counts(("a", 3, 8), ("a", 4, 4)) == [(3, 8), (4, 4)]


def test_what_was_downloaded_is_not_counted_twice() -> None:
    phases = Phases()
    phases.report("fetching", 70, 100, "bytes")
    assert phases.report("fetching", 60, 100, "bytes").done == 70


@pytest.mark.parametrize(
    ("reports", "ended"),
    [
        ([("a", 3, 9)], ("a", 9)),
        ([("a", 3, None)], ("a", 3)),
        ([("a", 9, 9), ("b", 0, 2)], ("b", 2)),
        ([("loading the model", 0, None)], ("loading the model", 1)),
        ([], ("computing", 1)),
    ],
)
def test_a_job_that_has_succeeded_is_at_n_of_n(reports: list[tuple[str, int, int | None]], ended) -> None:
    phases = Phases()
    for phase, done, total in reports:
        phases.report(phase, done, total, "rows")
    last = phases.ended()
    assert (last.phase, last.done, last.total) == (ended[0], ended[1], ended[1])
