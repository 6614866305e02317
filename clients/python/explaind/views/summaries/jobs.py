"""Jobs, their progress and problems, pages of jobs or files, and estimates in one line."""

from collections.abc import Iterator
from typing import Any

from explaind.contract.base import ResponseModel
from explaind.contract.errors import Problem
from explaind.contract.estimate import Estimate
from explaind.contract.files import FilePage
from explaind.contract.job import Job, JobPage, Progress
from explaind.views.drawing.summary_line import MOST_ITEMS, cut
from explaind.views.drawing.text import plural, progress_text, seconds, size
from explaind.views.registry import View


def _job(job: Job[Any]) -> Iterator[str]:
    yield job.id
    yield f"{job.method} on {job.model}"
    yield f"{job.state.value}, cached" if job.cached else job.state.value
    if job.error is not None:
        yield f"{job.error.code}: {cut(job.error.detail, 90)}"
    elif isinstance(job.result, ResponseModel):
        yield cut(repr(job.result), 100)
    elif not job.state.terminal:
        if job.progress is not None:
            yield progress_text(job.progress)
        if job.queue_position is not None:
            yield f"position {job.queue_position} in the queue"


def _page(page: JobPage | FilePage[Any]) -> Iterator[str]:
    yield plural(len(page.data), "job" if isinstance(page, JobPage) else "file")
    if page.has_more:
        yield "more follow"
    yield from (card.id for card in page.data[:MOST_ITEMS])
    if len(page.data) > MOST_ITEMS:
        yield "…"


def _problem(problem: Problem) -> Iterator[str]:
    said = f"{cut(problem.detail, 110)} {cut(problem.hint or '', 90)}".rstrip()
    yield f"{problem.status} {problem.code}: {said}"


def _estimate(estimate: Estimate) -> Iterator[str]:
    yield estimate.method
    yield plural(estimate.forwards, "forward")
    yield plural(estimate.tokens_evaluated, "token")
    yield f"{seconds(estimate.seconds)} ({estimate.basis})"
    yield f"{size(estimate.peak_bytes)} beside the weights of {size(estimate.model_bytes)}"
    yield "fits" if estimate.fits else "does not fit"


VIEWS = (
    View(Job, summary=_job),
    View(JobPage, summary=_page),
    View(FilePage, summary=_page),
    View(Progress, summary=lambda progress: [progress_text(progress)]),
    View(Problem, summary=_problem),
    View(Estimate, summary=_estimate),
)
