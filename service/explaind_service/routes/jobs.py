"""Jobs: list, get, cancel, delete; their results and reports."""

from typing import Annotated, Any

import orjson
from anyio import to_thread
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from explaind.contract.blocks.units import UnitKind
from explaind.contract.errors import (
    InvalidRequest,
    InvalidUnits,
    JobActive,
    JobCancelled,
    JobNotFinished,
    JobNotFound,
    RangeNotSatisfiable,
    ResultLost,
)
from explaind.contract.estimate import ESTIMATE
from explaind.contract.job import Job, JobPage, JobState, ResultPage
from explaind.views.report import job_html
from explaind_jobs.store.listing import Filters
from explaind_service.auth.caller import Reader, Writer
from explaind_service.dependencies import JOB_ID, FromApp, JobId, Store, StoredResults
from explaind_service.errors.openapi_responses import PROBLEM, problem_responses
from explaind_service.errors.problems import problem_response, stored_problem
from explaind_service.results.json_response import job_answer, json_answer

MAX_SECONDS = 10**9
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; sandbox"
)

Wait = Annotated[
    int | None,
    Query(
        ge=0,
        le=MAX_SECONDS,
        description="Maximum seconds to wait for the end of the job, limited to the service's own maximum.",
    ),
]

router = APIRouter(prefix="/jobs", tags=["jobs"])


async def _seen_job(store: Store, caller: Reader, job_id: JobId) -> Job[Any]:
    return await store.get(job_id, caller.sees)


SeenJob = Annotated[Job[Any], Depends(_seen_job)]


class Listing(BaseModel):
    """Which jobs to list. A parameter that does not exist is an error: it would silently filter nothing."""

    model_config = ConfigDict(extra="forbid")

    after: str | None = Field(None, description="`next` of the previous page.")
    limit: int = Field(20, ge=1, le=100, description="Maximum jobs on the page.")
    state: JobState | None = Field(None, description="Only jobs in this state.")
    method: str | None = Field(None, max_length=100, description="Only jobs of this method.", examples=["explain/shap"])
    model: str | None = Field(None, max_length=100, description="Only jobs of this model.", examples=["demo"])
    estimates: bool = Field(
        False, description="Whether to list estimates too; a `method` that is an estimate lists them anyway."
    )

    @field_validator("after")
    @classmethod
    def _is_id(cls, after: str | None) -> str | None:
        if after is not None and not JOB_ID.fullmatch(after):
            raise ValueError("This must be the id of a job.")
        return after


class Showing(BaseModel):
    """Which part of a result to show, and how; all of it without `path`."""

    model_config = ConfigDict(extra="forbid")

    path: str | None = Field(
        None,
        max_length=1000,
        description="JSON pointer to an array in the result; the response is then a page of it.",
        examples=["/values_by_target"],
    )
    offset: int = Field(0, ge=0, le=2**53, description="Index of the first item.")
    limit: int = Field(100, ge=1, le=10_000, description="Maximum items on the page.")
    units: UnitKind | None = Field(
        None,
        description=(
            "Larger units to show an attribution by than those it was computed with: their values are added up."
        ),
        examples=["sentence"],
    )


@router.get(
    "",
    operation_id="list_jobs",
    summary="List jobs",
    response_model=JobPage,
    responses=problem_responses(InvalidRequest),
)
async def list_jobs(store: Store, caller: Reader, listing: Annotated[Listing, Query()]) -> Response:
    """Jobs, newest first, as cards: without results, requests and provenance, which the job itself has.

    For the next page, set `after` to `next` while `has_more` is true.
    """
    estimates = listing.estimates or (listing.method or "").startswith(f"{ESTIMATE}/")
    filters = Filters(listing.state, listing.method, listing.model, estimates)
    page = await store.list(listing.after, listing.limit, filters, caller.sees)
    return json_answer(page)


@router.get(
    "/{job_id}",
    operation_id="get_job",
    summary="Get a job",
    response_model=Job[Any],
    responses=problem_responses(JobNotFound, InvalidRequest),
)
async def get_job(request: Request, resources: FromApp, caller: Reader, job_id: JobId, wait: Wait = None) -> Response:
    """The current state of the job: its place in the queue, its progress, and at the end its result or its error.

    With `wait` the response is sent once the job has ended, or when the wait is over; `Preference-Applied` is the
    longest wait. `result` stays null where it is large: it is at `links.result`.
    """
    job, last = await resources.store.follow(job_id, caller.sees)
    headers = {}
    if wait is not None:
        wait_s = min(wait, resources.settings.max_wait_s)
        job = await resources.waiting.for_end(job, last, wait_s, request.is_disconnected)
        headers["Preference-Applied"] = f"wait={wait_s}"
    return job_answer(job, await resources.results.within(job), headers=headers)


@router.delete(
    "/{job_id}",
    operation_id="delete_job",
    summary="Delete a job",
    status_code=204,
    responses=problem_responses(JobNotFound, JobActive),
)
async def delete_job(store: Store, caller: Writer, job_id: JobId) -> Response:
    """Deletes the record and the result of a job that has ended."""
    await store.delete(job_id, caller.sees)
    return Response(status_code=204)


@router.post(
    "/{job_id}/cancel",
    operation_id="cancel_job",
    summary="Cancel a job",
    response_model=Job[Any],
    responses=problem_responses(JobNotFound),
)
async def cancel_job(store: Store, caller: Writer, job_id: JobId) -> Response:
    """A waiting job is cancelled at once; a running one receives a stop signal; an ended one stays unchanged."""
    return json_answer(await store.cancel(job_id, caller.sees))


@router.head("/{job_id}/result", include_in_schema=False)
@router.get(
    "/{job_id}/result",
    operation_id="get_result",
    summary="Get a result",
    response_model=ResultPage | Any,
    responses={
        **problem_responses(
            JobNotFound, JobNotFinished, JobCancelled, InvalidRequest, InvalidUnits, RangeNotSatisfiable, ResultLost
        ),
        200: {"description": "The result of the job's method, as stored or by `units`; with `path`, a page of it."},
        206: {"description": "The bytes in the requested `Range`."},
        304: {"description": "Not modified: `If-None-Match` contains the result's `ETag`."},
        "default": {
            "description": "The job failed: its problem, with the status of that problem.",
            "content": PROBLEM,
        },
    },
)
async def get_result(
    request: Request, results: StoredResults, job: SeenJob, showing: Annotated[Showing, Query()]
) -> Response:
    """The result alone: 409 while the job is active; for a failed job, the problem it failed with.

    Compressed with zstd or gzip for callers that accept it; supports `ETag` with `If-None-Match`, and `Range` on the
    plain bytes. A large array is available in pages: `path`, `offset`, `limit`. An attribution by tokens or words is
    available by larger `units` that contain them, without being computed again.
    """
    _refuse_pages_of_nothing(showing)
    _refuse_unfinished(job)
    stored = await results.stored(job)
    if stored is None:
        return _why_no_result(job, request)
    async with results.reading(job):
        if showing.units is not None:
            stored = await results.regrouped(job, stored, showing.units)
        if showing.path is not None:
            return await results.page(stored, showing.path, showing.offset, showing.limit)
        return await results.answer(request, stored)


@router.head("/{job_id}/report", include_in_schema=False)
@router.get(
    "/{job_id}/report",
    operation_id="get_report",
    summary="Get a report",
    response_class=HTMLResponse,
    responses=problem_responses(JobNotFound, JobNotFinished, ResultLost),
)
async def get_report(results: StoredResults, job: SeenJob) -> Response:
    """The job as one self-contained HTML page."""
    _refuse_unfinished(job)
    stored = await results.stored(job)
    if stored is not None:
        async with results.reading(job):
            job.result = orjson.loads(await results.raw(stored))
    # A long prompt makes a long page: rendered in a thread, not on the event loop.
    page = await to_thread.run_sync(job_html, job)
    return HTMLResponse(page, headers={"Content-Security-Policy": REPORT_POLICY})


def _refuse_pages_of_nothing(showing: Showing) -> None:
    if showing.path is None and showing.model_fields_set & {"offset", "limit"}:
        detail = "Name the array that offset and limit count in."
        pointer = "/query/path"
        raise InvalidRequest.at(pointer, detail, hint="For example path=/values_by_target.")


def _refuse_unfinished(job: Job[Any]) -> None:
    if not job.state.terminal:
        raise JobNotFinished(
            f"The job is {job.state.value}.",
            hint=f"Ask again later, or follow GET {job.links.self}.",
            retry_after=1,
        )


def _why_no_result(job: Job[Any], request: Request) -> Response:
    if job.error is not None:
        return stored_problem(job.error, request)
    return problem_response(JobCancelled(f"Job {job.id} was cancelled and has no result."), request)
