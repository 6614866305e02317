"""POST /{verb}/{method}: one typed route for each method of the contract."""

import logging
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Header
from fastapi.openapi.models import Example
from starlette.requests import Request
from starlette.responses import Response

from explaind.contract.errors import StoreUnavailable
from explaind.contract.job import Job
from explaind.contract.method import Method
from explaind.contract.registry import all_methods
from explaind.contract.request import ModelRequest
from explaind_jobs.observability.log_context import add_to_context
from explaind_service.dependencies import FromApp, Resources, require_json
from explaind_service.errors.openapi_responses import RATE, RETRY_AFTER, Responses, submission_errors
from explaind_service.errors.rate_limit_headers import rate_headers
from explaind_service.results.json_response import job_answer
from explaind_service.submission.prefer import Preference, parse_prefer
from explaind_service.submission.request_headers import AskerOfRequest
from explaind_service.submission.submission_route import SubmissionRoute
from explaind_service.submission.submit import JobOrigin, Submission

ASK_AGAIN_S = "1"

log = logging.getLogger(__name__)

# Any text is valid: unknown preferences are ignored. The field may be repeated, so it is read from the headers.
Prefer = Annotated[
    str,
    Header(
        alias="Prefer",
        description="`wait=N`: respond with the finished job if it ends within N seconds (RFC 7240).",
        examples=["wait=30"],
    ),
]


def method_router() -> APIRouter:
    """The routes of all methods."""
    router = APIRouter(route_class=SubmissionRoute)
    for method in all_methods().values():
        router.add_api_route(
            f"/{method.path}",
            _submission(method),
            methods=["POST"],
            status_code=202,
            tags=[method.verb],
            operation_id=method.path.replace("/", "_").replace("-", "_"),
            summary=method.title,
            description=_description(method),
            response_model=Job[method.result],
            response_description="The job was accepted.",
            responses=submission_responses(
                Job[method.result], ended="The job has ended, in time for `Prefer: wait` or before a repeated request."
            ),
            dependencies=[Depends(require_json)],
        )
    return router


def _submission(method: Method[..., Any]) -> Callable[..., Awaitable[Response]]:
    async def submit(
        request: Request,
        params: ModelRequest,
        resources: FromApp,
        asker: AskerOfRequest,
        _prefer: Prefer = "",
    ) -> Response:
        preference = preference_of(request, resources)
        return await submitted(
            request, method, params, resources, asker, preference=preference, wait_s=preference.wait_s
        )

    # Read by FastAPI for validation and documentation: each route takes the params of its own method.
    submit.__annotations__["params"] = Annotated[method.params_model, Body(openapi_examples=examples_of(method))]
    return submit


def examples_of(method: Method[..., Any]) -> dict[str, Example]:
    """The OpenAPI examples of a request to the method."""
    return {"works": {"summary": "Works on the built-in model", "value": method.example}}


def preference_of(request: Request, resources: Resources) -> Preference:
    """The request's `Prefer`, within the service's longest wait."""
    return parse_prefer(request.headers.getlist("prefer"), max_wait_s=resources.settings.max_wait_s)


async def submitted(
    request: Request,
    method: Method[..., Any],
    params: ModelRequest,
    resources: Resources,
    asker: JobOrigin,
    *,
    preference: Preference,
    wait_s: int | None,
) -> Response:
    """Submits a job: 202 and the job, or 200 if it has ended within `wait_s` seconds (None: no wait).

    Raises:
        InvalidRequest, CapacityError: as `JobSubmitter.accept`.
    """
    accepted = await resources.intake.accept(method, params, asker)
    add_to_context(job=accepted.job.id, method=method.path, model=params.model)
    log.info("accepted %s on %s%s", method.path, params.model, _how(accepted))
    headers = {"Idempotent-Replayed": "true"} if accepted.replayed else {}
    if accepted.rate is not None:
        headers |= rate_headers(asker.allowance, accepted.rate.remaining, accepted.rate.reset_s)
    ready = accepted.replayed or accepted.job.state.terminal or wait_s is not None
    job, result = await _ended(resources, request, accepted, wait_s or 0) if ready else (accepted.job, None)
    return _answer(job, result, preference, headers, ended=ready and job.state.terminal)


async def _ended(
    resources: Resources, request: Request, accepted: Submission, wait_s: int
) -> tuple[Job[Any], bytes | None]:
    job = accepted.job
    try:
        seen = await resources.waiting.for_end(job, accepted.last, wait_s, request.is_disconnected)
        return seen, await resources.results.within(seen)
    except StoreUnavailable:
        # The job is accepted: a store failure afterwards must not make the caller submit it again.
        return job, None


def _answer(
    job: Job[Any], result: bytes | None, preference: Preference, headers: dict[str, str], *, ended: bool
) -> Response:
    headers = {**headers, "Location": job.links.self, "Vary": "Prefer"}
    if preference.applied:
        headers["Preference-Applied"] = preference.applied
    if ended:
        return job_answer(job, result, headers=headers)
    return job_answer(job, status=202, headers={**headers, "Retry-After": ASK_AGAIN_S})


def _how(accepted: Submission) -> str:
    if accepted.replayed:
        return ", sent before"
    return ", answered before" if accepted.job.cached else ""


def _description(method: Method[..., Any]) -> str:
    parts = [
        method.summary,
        f"Cost: {method.cost}." if method.cost else "",
        f"Source: {method.citation}." if method.citation else "",
    ]
    return "\n\n".join(part for part in parts if part)


def submission_responses(job: type[Job[Any]], *, ended: str) -> Responses:
    """The OpenAPI responses of an operation that submits a job; `ended` describes its 200."""
    location = {"Location": {"description": "Path of the job.", "schema": {"type": "string"}}}
    return {
        200: {"model": job, "description": ended, "headers": {**location, **RATE}},
        202: {"headers": {**location, **RETRY_AFTER, **RATE}},
        **submission_errors(),
    }
