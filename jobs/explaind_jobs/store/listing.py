"""Listing of jobs: the script calls of a page, and how their results are gathered."""

from dataclasses import dataclass
from typing import Any

from explaind.contract.estimate import ESTIMATE
from explaind.contract.job import JobCard, JobPage, JobState
from explaind_jobs.redis_scripts.script import ScriptCall, text
from explaind_jobs.store.job_view import card_from

ESTIMATES = f"{ESTIMATE}/"
LIST_SCAN = 500
# Most calls per page: with a filter, matches may be far away or nowhere.
LIST_CALLS = 4


@dataclass(frozen=True, slots=True)
class Filters:
    """Which jobs to list; None means any."""

    state: JobState | None = None
    method: str | None = None
    model: str | None = None
    estimates: bool = True


def list_jobs(
    caller: str, after: str | None, limit: int, filters: Filters
) -> ScriptCall[tuple[list[JobCard], str | None]]:
    """Some of the jobs after one, newest first, and the id to continue after (None: no more)."""

    def parse(reply: Any) -> tuple[list[JobCard], str | None]:
        return [card_from(row) for row in reply[1:]], text(reply[0]) or None

    state = filters.state.value if filters.state else ""
    args = [caller, after or "", limit, LIST_SCAN, state, filters.method or "", filters.model or ""]
    args.append("" if filters.estimates else ESTIMATES)
    return ScriptCall("list", args, parse)


class Paging:
    """Gathers one page of a listing over up to `LIST_CALLS` calls, as filters require."""

    def __init__(self, caller: str, after: str | None, limit: int, filters: Filters) -> None:
        self._caller, self._after, self._limit = caller, after, limit
        self._filters = filters
        self._jobs: list[JobCard] = []
        self._ended = False
        self._calls = 0

    def next_call(self) -> ScriptCall[tuple[list[JobCard], str | None]] | None:
        """The next call to make; None if the page is full, nothing is left, or the call limit is reached."""
        missing = self._limit + 1 - len(self._jobs)
        if self._ended or missing <= 0 or self._calls >= LIST_CALLS:
            return None
        self._calls += 1
        return list_jobs(self._caller, self._after, missing, self._filters)

    def take(self, found: tuple[list[JobCard], str | None]) -> None:
        """Add the jobs that a call found."""
        jobs, self._after = found
        self._jobs += jobs
        self._ended = self._after is None

    def page(self) -> JobPage:
        """The gathered page."""
        data, full = self._jobs[: self._limit], len(self._jobs) > self._limit
        # `_after` is the last job examined; one that did not fit on the page is found again.
        after = data[-1].id if full else self._after
        return JobPage(data=data, has_more=after is not None, next=after)
