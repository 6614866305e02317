"""Exception handlers: every error becomes application/problem+json from the tree in `explaind.contract.errors`."""

import json
import math
from collections.abc import Mapping

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from explaind.contract.errors import (
    CapacityError,
    ExplaindError,
    FieldError,
    InternalError,
    JobNotFinished,
    MalformedBody,
    MethodNotAllowed,
    Problem,
    RateLimited,
    RequestError,
    Unauthenticated,
)
from explaind_service.auth.caller import caller_of
from explaind_service.body_limits import BodyLimits
from explaind_service.errors.not_found import RouteHints
from explaind_service.errors.rate_limit_headers import rate_headers, spent_headers
from explaind_service.errors.validation import error_of_validation

PROBLEM_JSON = "application/problem+json"
RETRY_AFTER_S = 2
# A problem may quote the request, shortened.
MAX_DETAIL, MAX_FIELD_DETAIL, MAX_POINTER = 500, 300, 120
CHALLENGE = 'Bearer realm="explaind"'


def problem_response(error: ExplaindError, request: Request) -> Response:
    """The error as a response to that request, with `Retry-After` where retrying makes sense, and the headers of
    authentication and rate limit.
    """
    retry_after = error.retry_after
    if retry_after is None and isinstance(error, CapacityError | JobNotFinished):
        retry_after = RETRY_AFTER_S
    headers = {} if retry_after is None else {"Retry-After": str(max(1, math.ceil(retry_after)))}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = CHALLENGE
    headers |= spent_headers(request.scope)
    caller = caller_of(request.scope)
    if isinstance(error, RateLimited) and caller is not None:
        headers.update(rate_headers(caller.allowance, 0, retry_after or RETRY_AFTER_S))
    return stored_problem(error.problem(), request, headers=headers)


def stored_problem(problem: Problem, request: Request, *, headers: Mapping[str, str] | None = None) -> Response:
    """A problem as a response to that request: with the request's id and, unless the problem has one, its path."""
    told = problem.model_copy(
        update={
            "detail": excerpt(problem.detail, MAX_DETAIL),
            "errors": [_brief(error) for error in problem.errors],
            "request_id": request.scope.get("state", {}).get("request_id"),
            "instance": problem.instance or _path(request),
        }
    )
    return Response(told.model_dump_json(), status_code=told.status, headers=headers, media_type=PROBLEM_JSON)


def excerpt(text: str, longest: int) -> str:
    """The text, cut off after `longest` characters."""
    return text if len(text) <= longest else f"{text[:longest]}…"


def _brief(error: FieldError) -> FieldError:
    return FieldError(pointer=excerpt(error.pointer, MAX_POINTER), detail=excerpt(error.detail, MAX_FIELD_DETAIL))


def unexpected() -> InternalError:
    """The error returned for an unexpected exception: without internals."""
    return InternalError(
        "The service ran into an error of its own.",
        hint="Report it with the request id; the service's log has the rest.",
    )


def add_problem_handlers(app: FastAPI, signposts: RouteHints, limits: BodyLimits) -> None:
    """Registers handlers that turn every error of the application into a problem."""

    async def told(request: Request, error: Exception) -> Response:
        assert isinstance(error, ExplaindError)  # noqa: S101 - registered for these only
        return problem_response(error, request)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for these only
        return problem_response(error_of_validation(error, _path(request)), request)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for these only
        response = problem_response(_error_of_http(error, request, signposts, limits), request)
        if error.status_code == 405:
            response.headers["Allow"] = ", ".join(signposts.allowed(_path(request)))
        return response

    async def unforeseen(request: Request, _: Exception) -> Response:
        return problem_response(unexpected(), request)

    app.add_exception_handler(ExplaindError, told)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unforeseen)


def _error_of_http(error: HTTPException, request: Request, signposts: RouteHints, limits: BodyLimits) -> ExplaindError:
    path = _path(request)
    match error.status_code:
        case 400:
            found = _unreadable(error.__cause__)
        case 404:
            found = signposts.missing(path)
        case 405:
            allowed = " or ".join(signposts.allowed(path))
            found = MethodNotAllowed(f"{request.method} is not allowed on {path}.", hint=f"Use {allowed}.")
        case 413:
            found = limits.refusal(path)
        case status:
            found = RequestError(str(error.detail)) if status < 500 else unexpected()
    return found


def _unreadable(cause: BaseException | None) -> ExplaindError:
    match cause:
        case ExplaindError():
            return cause
        case UnicodeDecodeError(start=start):
            return MalformedBody(f"The body is not UTF-8: byte {start} cannot be read.", hint="Send UTF-8.")
        case RecursionError():
            return MalformedBody("The body is nested too deeply.", hint="Send a flat JSON object.")
        case json.JSONDecodeError() | ValueError():
            return MalformedBody("A number in the body has too many digits.", hint="Send shorter numbers.")
        case _:
            return MalformedBody("The body could not be read.", hint="Send a JSON object in UTF-8.")


def _path(request: Request) -> str:
    return request.scope["path"][:200]
