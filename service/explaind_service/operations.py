"""What the OpenAPI document says about answers, in one place."""

from collections.abc import Mapping
from typing import Any

from explaind.contract.errors import (
    BodyTooLarge,
    ExplaindError,
    IdempotencyKeyReused,
    InvalidRequest,
    MalformedBody,
    QueueFull,
    StoreUnavailable,
    TargetTooLong,
    TooManyUnits,
    UnknownModel,
    UnsupportedMedia,
)
from explaind_service.problems import PROBLEM_JSON

Responses = dict[int | str, dict[str, Any]]

RETRY_AFTER = {"Retry-After": {"description": "Seconds after which to ask again.", "schema": {"type": "integer"}}}


PROBLEM = {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}

# Of every operation; it also keeps the framework from describing a 422 of its own.
ANY_ERROR: Responses = {"default": {"description": "Any other error.", "content": PROBLEM}}


def problem_responses(*errors: type[ExplaindError], store: bool = True) -> Responses:
    """The OpenAPI responses of an operation that may end in these errors, or (`store`) in no store at all."""
    by_status: dict[int, list[type[ExplaindError]]] = {}
    for error in (*errors, StoreUnavailable) if store else errors:
        by_status.setdefault(error.status, []).append(error)
    return {status: _response(known) for status, known in sorted(by_status.items())}


def submission_errors() -> Responses:
    """The responses of every operation that takes a job."""
    unprocessable = (InvalidRequest, UnknownModel, TargetTooLong, TooManyUnits, IdempotencyKeyReused)
    return problem_responses(MalformedBody, BodyTooLarge, UnsupportedMedia, *unprocessable, QueueFull)


def _response(errors: list[type[ExplaindError]]) -> dict[str, Any]:
    described = "; ".join(f"{error.title} (`{error.code}`)" for error in errors)
    headers: Mapping[str, Any] = RETRY_AFTER if any(error.retryable for error in errors) else {}
    response: dict[str, Any] = {"description": described, "content": PROBLEM}
    return {**response, "headers": dict(headers)} if headers else response
