"""The one error tree.

Each class owns its HTTP status, its stable `code` and whether the same request may succeed later.
The service renders an error as an RFC 9457 problem, a failed job carries the same problem, and the SDK
raises the same class again from it: `raise error_from(problem)`.

ExplaindError
├── RequestError                the request is at fault; sending it again changes nothing
│   ├── MalformedBody 400       ├── NotFound 404            ├── InvalidRequest 422
│   ├── BodyTooLarge 413        │   ├── JobNotFound         │   ├── UnknownModel, WrongModelKind
│   ├── UnsupportedMedia 415    │   ├── DatasetNotFound     │   ├── UnknownDataset, UnknownArtifact, InvalidDataset
│   ├── MethodNotAllowed 405    │   ├── ArtifactNotFound    │   ├── PromptTooLong, TargetTooLong
│   ├── RangeNotSatisfiable 416 │   └── UnknownMethod       │   ├── InvalidUnits, TooManyUnits, RequestTooLarge
│   ├── TooManyFiles 409        ├── JobNotFinished 409      │   └── NoBaselineToken, AttachmentMismatch, …
│   │                           ├── JobActive 409           │
│   └── Unauthenticated 401, NotPermitted 403               └── RequestTooSlow 408, HeadTooLarge 431
├── CapacityError               try again later: QueueFull, RateLimited 429, StoreUnavailable, TooManyStreams 503
├── JobError                    how an accepted job ended: ModelLoadFailed (HubUnavailable), ModelTooLarge,
│                               SelfCheckFailed, DeadlineExceeded, QueueExpired, JobCancelled, WorkerLost, OutOfMemory,
│                               NonFiniteScore, ResultLost, FileLost, InternalError
└── ClientError                 never travels: ConnectionFailed, WaitTimeout, UnexpectedResponse, WebhookNotVerified,
                                PositionalArguments
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

from pydantic import Field

from explaind.contract.base import ResponseModel
from explaind.contract.names import ONE_LINE

MOST_REPR_CHARS = 250


class FieldError(ResponseModel):
    """A field of the request with an error."""

    pointer: str = Field(description="JSON pointer to the field in the request body.", examples=["/prompt"])
    detail: str = Field(description="Description of the error.", examples=["String should have at least 1 character"])


class Problem(ResponseModel):
    """An RFC 9457 problem: the error with its cause (`detail`) and a remedy (`hint`)."""

    type: str = Field(description="URN of the kind of problem.", examples=["urn:explaind:problem:unknown_model"])
    title: str = Field(description="Kind of problem in words.", examples=["Unknown model"])
    status: int = Field(description="HTTP status.", examples=[422])
    code: str = Field(description="Stable machine-readable name.", examples=["unknown_model"])
    detail: str = Field(description="Description of the error and its cause.", examples=["No model is called 'dmeo'."])
    hint: str | None = Field(default=None, description="Suggested remedy.", examples=["Did you mean 'demo'?"])
    retryable: bool = Field(default=False, description="Whether the same request may succeed later.")
    instance: str | None = Field(default=None, description="Path of the request, or the job.")
    request_id: str | None = Field(default=None, description="Id of the request, to quote when reporting the problem.")
    errors: list[FieldError] = Field(default_factory=list, description="Fields with errors.")


class ExplaindError(Exception):
    """Root of every error of explaind.

    Attributes: `detail` (what and why), `hint` (what to do), `errors` (the fields at fault), `request_id`, `instance`,
    `retry_after` (seconds, where the service named them). `status` is that of its class unless given.
    """

    status: int = 500
    code: ClassVar[str] = "error"
    title: ClassVar[str] = "Error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        detail: str,
        *,
        hint: str | None = None,
        errors: Sequence[FieldError] = (),
        request_id: str | None = None,
        instance: str | None = None,
        retry_after: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(detail)
        if status is not None:
            self.status = status
        self.detail = detail
        self.hint = hint
        self.errors = list(errors)
        self.request_id = request_id
        self.instance = instance
        self.retry_after = retry_after

    def __str__(self) -> str:
        hint = f" {self.hint}" if self.hint else ""
        if len(self.errors) == 1:
            only = f"{self.errors[0].pointer}: {self.errors[0].detail}"
            if self.detail in {only, self.errors[0].detail}:
                return f"{only}{hint}"
        fields = "".join(f"\n  {e.pointer}: {e.detail}" for e in self.errors)
        return f"{self.detail}{hint}{fields}"

    def __repr__(self) -> str:
        text = str(self)
        return f"{type(self).__name__}({text if len(text) <= MOST_REPR_CHARS else text[: MOST_REPR_CHARS - 1] + '…'!r})"

    @classmethod
    def at(cls, pointer: str, detail: str, *, hint: str | None = None) -> Self:
        """The error for one field of the request, e.g. `at("/units/segments/1", "…")`."""
        return cls(detail, hint=hint, errors=[FieldError(pointer=pointer, detail=detail)])

    def problem(self) -> Problem:
        """The error as an RFC 9457 problem."""
        return Problem(
            type=f"urn:explaind:problem:{self.code}",
            title=self.title,
            status=self.status,
            code=self.code,
            detail=self.detail,
            hint=self.hint,
            retryable=self.retryable,
            instance=self.instance,
            request_id=self.request_id,
            errors=self.errors,
        )


class RequestError(ExplaindError):
    status, code, title = 400, "bad_request", "Bad request"


class MalformedBody(RequestError):
    status, code, title = 400, "malformed_body", "The body is not valid JSON"


class Unauthenticated(RequestError):
    status, code, title = 401, "unauthenticated", "An API key is needed"


class HeadTooLarge(RequestError):
    status, code, title = 431, "head_too_large", "The head of the request is too large"


class NotPermitted(RequestError):
    status, code, title = 403, "not_permitted", "Not permitted"


class NotFound(RequestError):
    status, code, title = 404, "not_found", "Not found"


class JobNotFound(NotFound):
    code, title = "job_not_found", "Job not found"


class DatasetNotFound(NotFound):
    code, title = "dataset_not_found", "Dataset not found"


class ArtifactNotFound(NotFound):
    code, title = "artifact_not_found", "Artifact not found"


class UnknownMethod(NotFound):
    code, title = "unknown_method", "Unknown method"


class MethodNotAllowed(RequestError):
    status, code, title = 405, "method_not_allowed", "HTTP method not allowed"


class RequestTooSlow(RequestError):
    status, code, title, retryable = 408, "request_too_slow", "The request came too slowly", True


class JobNotFinished(RequestError):
    status, code, title, retryable = 409, "job_not_finished", "The job has not finished", True


class JobActive(RequestError):
    status, code, title = 409, "job_active", "The job is still active"


class TooManyFiles(RequestError):
    status, code, title = 409, "too_many_files", "Too many files are kept"


class BodyTooLarge(RequestError):
    status, code, title = 413, "body_too_large", "The body is too large"


class UnsupportedMedia(RequestError):
    status, code, title = 415, "unsupported_media", "Unsupported media type"


class RangeNotSatisfiable(RequestError):
    status, code, title = 416, "range_not_satisfiable", "The range lies beyond the result"


class InvalidRequest(RequestError):
    status, code, title = 422, "invalid_request", "The request is not valid"


class UnknownField(InvalidRequest, TypeError):
    """The SDK's own: a keyword that the method does not have; to Python a TypeError, as of any function."""

    code, title = "unknown_field", "Unknown field"


class UnknownModel(InvalidRequest):
    code, title = "unknown_model", "Unknown model"


class UnknownDataset(InvalidRequest):
    code, title = "unknown_dataset", "Unknown dataset"


class UnknownArtifact(InvalidRequest):
    code, title = "unknown_artifact", "Unknown artifact"


class InvalidDataset(InvalidRequest):
    code, title = "invalid_dataset", "The dataset cannot be read"


class WrongSource(InvalidDataset, TypeError):
    """The SDK's own: what is given is neither a file nor a table; to Python a TypeError, as of any function."""

    code, title = "wrong_source", "Neither a file nor a table"


class WrongModelKind(InvalidRequest):
    code, title = "wrong_model_kind", "Not for this kind of model"


class PromptTooLong(InvalidRequest):
    code, title = "prompt_too_long", "The prompt is too long"


class TargetTooLong(InvalidRequest):
    code, title = "target_too_long", "Prompt and target do not fit the model's context"


class InvalidTarget(InvalidRequest):
    code, title = "invalid_target", "The target cannot be scored"


class InvalidUnits(InvalidRequest):
    code, title = "invalid_units", "The units cannot be explained"


class TooManyUnits(InvalidRequest):
    code, title = "too_many_units", "Too many units for this algorithm"


class RequestTooLarge(InvalidRequest):
    code, title = "request_too_large", "The request needs more memory than there is"


class BudgetTooSmall(InvalidRequest):
    code, title = "budget_too_small", "The budget is too small"


class NoChatTemplate(InvalidRequest):
    code, title = "no_chat_template", "The model has no chat template"


class ChatTemplateRefuses(InvalidRequest):
    code, title = "chat_template_refuses", "The model's chat template refuses the messages"


class NoBaselineToken(InvalidRequest):
    code, title = "no_baseline_token", "The model has no token for this baseline"


class AttachmentMismatch(InvalidRequest):
    code, title = "attachment_mismatch", "What the request names was made for another model"


class GradientsUnavailable(InvalidRequest):
    code, title = "gradients_unavailable", "The model gives no gradients to explain with"


class IdempotencyKeyReused(InvalidRequest):
    code, title = "idempotency_key_reused", "The idempotency key belongs to another request"


class CapacityError(ExplaindError):
    status, code, title, retryable = 503, "capacity", "Try again later", True


class RateLimited(CapacityError):
    status, code, title = 429, "rate_limited", "Too many requests"


class QueueFull(CapacityError):
    status, code, title = 429, "queue_full", "The queue is full"


class StoreUnavailable(CapacityError):
    code, title = "store_unavailable", "The job store is unavailable"


class TooManyStreams(CapacityError):
    code, title = "too_many_streams", "Too many clients follow jobs"


class JobError(ExplaindError):
    code, title = "job_failed", "The job failed"


class InternalError(JobError):
    code, title = "internal_error", "Internal error"


class ModelLoadFailed(JobError):
    code, title = "model_load_failed", "The model could not be loaded"


class HubUnavailable(ModelLoadFailed):
    status, code, title, retryable = 503, "hub_unavailable", "The model hub cannot be had", True


class ModelTooLarge(JobError):
    code, title = "model_too_large", "The model does not fit this worker's memory"


class SelfCheckFailed(JobError):
    code, title = "self_check_failed", "The model failed its self-check"


class DeadlineExceeded(JobError):
    status, code, title = 504, "deadline_exceeded", "The job ran past its deadline"


class QueueExpired(JobError):
    status, code, title, retryable = 504, "queue_expired", "No worker took the job in time", True


class JobCancelled(JobError):
    status, code, title = 409, "job_cancelled", "The job was cancelled"


class WorkerLost(JobError):
    code, title, retryable = "worker_lost", "The worker was lost", True


class NonFiniteScore(JobError):
    code, title = "non_finite_score", "The score is not a finite number"


class ResultLost(JobError):
    code, title = "result_lost", "The stored result was lost"


class FileLost(JobError):
    code, title = "file_lost", "The stored file was lost"


class OutOfMemory(JobError):
    status, code, title, retryable = 503, "out_of_memory", "Out of memory", True


class ClientError(ExplaindError):
    status, code, title = 0, "client_error", "Client error"


class PositionalArguments(ClientError, TypeError):
    """To Python a TypeError, as of any function."""

    code, title = "positional_arguments", "Arguments are given by name"


class ConnectionFailed(ClientError):
    code, title, retryable = "connection_failed", "The service could not be reached", True


class WaitTimeout(ClientError):
    code, title, retryable = "wait_timeout", "The job did not finish in time", True


class UnexpectedResponse(ClientError):
    code, title = "unexpected_response", "The answer is not one of explaind"


class WebhookNotVerified(ClientError):
    code, title = "webhook_not_verified", "The message is not a webhook of the service"


def _tree(root: type[ExplaindError]) -> Iterator[type[ExplaindError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


def classes_by_code() -> dict[str, type[ExplaindError]]:
    """Every error class by its `code`."""
    return {cls.code: cls for cls in _tree(ExplaindError)}


def error_from(problem: Problem, *, retry_after: float | None = None) -> ExplaindError:
    """The error that a problem describes, of the class of its code.

    An unknown code becomes the most specific base class for its status.
    """
    cls = classes_by_code().get(problem.code)
    if cls is None:
        cls = RequestError if 400 <= problem.status < 500 else JobError
    return cls(
        problem.detail,
        hint=problem.hint,
        errors=problem.errors,
        request_id=problem.request_id,
        instance=problem.instance,
        retry_after=retry_after,
        status=problem.status,
    )


def field_errors(errors: Sequence[Any]) -> list[FieldError]:
    """pydantic's error list as field errors, without `body` and the names of union branches in the pointers."""
    found: list[FieldError] = []
    for error in errors:
        keys = [str(key) for key in error["loc"] if key != "body" and not _is_branch(str(key))]
        pointer = "".join(f"/{_escaped(key)}" for key in keys) + str(error.get("ctx", {}).get("pointer", ""))
        field = FieldError(pointer=pointer, detail=said_of(error))
        if field not in found:
            found.append(field)
    return found


def said_of(error: Any) -> str:
    """The error message, in words rather than a regular expression."""
    if error["type"] == "string_pattern_mismatch" and error["ctx"]["pattern"] == ONE_LINE:
        return "A name is one line of text: control characters, and those that turn its direction, are refused."
    return str(error["msg"]).removeprefix("Value error, ")


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")  # RFC 6901


def _is_branch(key: str) -> bool:
    # pydantic puts the tag of a union's branch into `loc`; ours begin with a tilde (see base.by_key).
    return key.startswith(("~", "tuple["))
