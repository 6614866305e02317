"""OpenAPI `responses=` entries, in one place."""

from typing import Any

from explaind.contract.errors import (
    BodyTooLarge,
    ExplaindError,
    IdempotencyKeyReused,
    InvalidRequest,
    MalformedBody,
    NotPermitted,
    QueueFull,
    RateLimited,
    StoreUnavailable,
    TargetTooLong,
    TooManyUnits,
    Unauthenticated,
    UnknownArtifact,
    UnknownDataset,
    UnknownModel,
    UnsupportedMedia,
)
from explaind_service.errors.problems import PROBLEM_JSON

Responses = dict[int | str, dict[str, Any]]

RETRY_AFTER = {
    "Retry-After": {"description": "Seconds to wait before repeating the request.", "schema": {"type": "integer"}}
}
RATE = {
    "RateLimit-Policy": {
        "description": "For keys with a rate: requests allowed at once (q), and seconds until all are restored (w).",
        "schema": {"type": "string"},
        "example": '"requests";q=100;w=10',
    },
    "RateLimit": {
        "description": "Requests left (r), and seconds until more are restored (t).",
        "schema": {"type": "string"},
        "example": '"requests";r=42;t=3',
    },
}
CHALLENGE = {
    "WWW-Authenticate": {"description": "`Bearer`: send an API key.", "schema": {"type": "string"}},
}

PROBLEM = {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}

# On every operation; it also keeps the framework from adding its own 422.
ANY_ERROR: Responses = {"default": {"description": "Any other error.", "content": PROBLEM}}


def problem_responses(*errors: type[ExplaindError], store: bool = True) -> Responses:
    """The OpenAPI responses of an operation that may raise these errors and, with `store`, StoreUnavailable."""
    by_status: dict[int, list[type[ExplaindError]]] = {}
    for error in (*errors, StoreUnavailable) if store else errors:
        by_status.setdefault(error.status, []).append(error)
    return {status: _response(known) for status, known in sorted(by_status.items())}


def submission_errors() -> Responses:
    """The responses of every operation that submits a job."""
    files = (UnknownDataset, UnknownArtifact)
    unprocessable = (InvalidRequest, UnknownModel, *files, TargetTooLong, TooManyUnits, IdempotencyKeyReused)
    return problem_responses(MalformedBody, BodyTooLarge, UnsupportedMedia, *unprocessable, RateLimited, QueueFull)


def access_errors() -> Responses:
    """The responses of every authenticated operation."""
    return problem_responses(Unauthenticated, NotPermitted)


def _response(errors: list[type[ExplaindError]]) -> dict[str, Any]:
    described = "; ".join(f"{error.title} (`{error.code}`)" for error in errors)
    headers: dict[str, Any] = {}
    if any(error.retryable for error in errors):
        headers |= RETRY_AFTER
    if RateLimited in errors:
        headers |= RATE
    if Unauthenticated in errors:
        headers |= CHALLENGE
    response: dict[str, Any] = {"description": described, "content": PROBLEM}
    return {**response, "headers": headers} if headers else response
