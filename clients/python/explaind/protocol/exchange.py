"""HTTP exchanges without I/O: requests, retry policy, response parsing, problems.

An operation is a generator (a `Flow`): it yields effects and is sent their outcome, so that the sync and the async
client run the same logic. A driver sends the response or the bytes for `Send`, `OpenStream` and `ReadChunk`, or throws
the `httpx.RequestError` into the flow; it sleeps on `Sleep` and passes each `Report` on to the caller.
"""

import random
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from explaind.contract.errors import (
    ConnectionFailed,
    ExplaindError,
    NotFound,
    Problem,
    UnexpectedResponse,
    error_from,
)
from explaind.contract.job import Job
from explaind.protocol.events import JobEvent

T = TypeVar("T")
ModelT = TypeVar("ModelT", bound=BaseModel)

OnProgress = Callable[[Job[Any]], object]

RETRY_STATUSES = frozenset({429, 502, 503, 504})
EXCERPT_CHARS = 200


@dataclass(frozen=True)
class Request:
    """An HTTP request: a path below the base URL, with everything that a retry must repeat."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Send:
    """Effect: send the request; outcome: the response."""

    request: Request


@dataclass(frozen=True)
class Sleep:
    """Effect: wait `seconds`."""

    seconds: float


@dataclass(frozen=True)
class Report:
    """Effect: pass an event of the job on to the caller."""

    event: JobEvent


@dataclass(frozen=True)
class OpenStream:
    """Effect: send the request; outcome: the response once its headers have arrived; an unsuccessful one is read whole.

    A flow has one open stream at a time. `silence_s` is the read timeout between two chunks.
    """

    request: Request
    silence_s: float


@dataclass(frozen=True)
class ReadChunk:
    """Effect: read from the open stream; outcome: its next bytes, empty at its end."""


@dataclass(frozen=True)
class CloseStream:
    """Effect: close the open stream. A driver also closes it when the flow ends, however it ends."""


Effect = Send | Sleep | Report | OpenStream | ReadChunk | CloseStream
Flow = Generator[Effect, Any, T]


class FlowRun(Generic[T]):
    """One run of a flow: effect after effect, finally `value`, the flow's return value."""

    value: T

    def __init__(self, flow: Flow[T]) -> None:
        self._flow = flow

    def begin(self) -> Effect | None:
        """The first effect; None if the flow has ended."""
        return self._step(lambda: next(self._flow))

    def send(self, outcome: Any) -> Effect | None:
        """Sends the last effect's outcome into the flow; returns the next effect, None if the flow has ended."""
        return self._step(lambda: self._flow.send(outcome))

    def throw(self, error: httpx.RequestError) -> Effect | None:
        """Throws the last effect's failure into the flow; returns the next effect, None if the flow has ended."""
        return self._step(lambda: self._flow.throw(error))

    def _step(self, step: Callable[[], Effect]) -> Effect | None:
        try:
            return step()
        except StopIteration as end:
            self.value = end.value
            return None


@dataclass(frozen=True)
class Policy:
    """Retry policy. `clock` returns seconds, `jitter` a number in [0, 1)."""

    max_retries: int = 4
    first_backoff_s: float = 0.25
    longest_backoff_s: float = 8.0
    longest_retry_after_s: float = 60.0
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random

    def pause(self, retries: int, retry_after: float | None) -> float | None:
        """Seconds to wait before the next attempt after `retries` retries; None for no further attempt."""
        if retries >= self.max_retries:
            return None
        if retry_after is not None:
            return retry_after if retry_after <= self.longest_retry_after_s else None
        return self.jitter() * min(self.longest_backoff_s, self.first_backoff_s * 2**retries)


def exchange(policy: Policy, request: Request, *, deadline: float | None = None) -> Flow[tuple[httpx.Response, int]]:
    """Send a request, with retries where they may help.

    Every request may be repeated: reading and cancelling are idempotent, and a submission carries its
    Idempotency-Key.

    Args:
        policy: number and timing of retries.
        request: what to send.
        deadline: no retry is begun after this time of the policy's clock.

    Returns:
        The last response, of whatever status, and the number of retries it took.

    Raises:
        ConnectionFailed: no response came.
    """
    retries = 0
    while True:
        try:
            response: httpx.Response = yield Send(request)
        except httpx.RequestError as error:
            pause = policy.pause(retries, None) if may_pass(error) else None
            if pause is None or _past(policy, deadline, pause):
                raise _connection_failed(error) from error
        else:
            pause = policy.pause(retries, retry_after(response)) if _retryable(response) else None
            if pause is None or _past(policy, deadline, pause):
                return response, retries
        yield Sleep(pause)
        retries += 1


def fetch(policy: Policy, request: Request, *, deadline: float | None = None) -> Flow[httpx.Response]:
    """Send a request and return the successful response.

    Raises:
        ExplaindError: the contract's error for the response's problem.
        ConnectionFailed: no response came.
        UnexpectedResponse: the response is not explaind's.
    """
    response, _ = yield from exchange(policy, request, deadline=deadline)
    return successful(response)


def segment(identifier: str) -> str:
    """An id as one segment of a URL path. Dots alone are escaped as well: a path that ends in `..` leads elsewhere.

    Raises:
        NotFound: the id is empty, so that the path would be that of all.
    """
    if not identifier:
        raise NotFound("An empty text is the id of nothing.")
    quoted = quote(identifier, safe="")
    return quoted if identifier.strip(".") else quoted.replace(".", "%2E")


def successful(response: httpx.Response) -> httpx.Response:
    """The response itself when its status is a success.

    Raises:
        ExplaindError: the contract's error for its problem.
        UnexpectedResponse: it has no problem.
    """
    if response.is_success:
        return response
    raise error_of(response)


def parsed(response: httpx.Response, model: type[ModelT]) -> ModelT:
    """The response's body as a model of the contract.

    Raises:
        UnexpectedResponse: it does not match the model.
    """
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        raise unexpected(response) from error


def error_of(response: httpx.Response) -> ExplaindError:
    """The contract's error for an unsuccessful response, with its request id and Retry-After."""
    problem = _problem(response)
    if problem is None:
        return unexpected(response)
    if problem.request_id is None:
        problem.request_id = response.headers.get("x-request-id")
    return error_from(problem, retry_after=retry_after(response))


def unexpected(response: httpx.Response) -> UnexpectedResponse:
    """The error of a response that is not explaind's."""
    excerpt = " ".join(response.text[: 4 * EXCERPT_CHARS].split())[:EXCERPT_CHARS]
    moved = f" It points to {response.headers['location']}." if "location" in response.headers else ""
    return UnexpectedResponse(
        f"{response.request.method} {response.request.url.path} was answered with status "
        f"{response.status_code} and something that is not explaind's: {excerpt or 'nothing'!r}.{moved}",
        hint="Is the URL the one of an explaind service, and is it as new as this client?",
        request_id=response.headers.get("x-request-id"),
        retry_after=retry_after(response),
    )


def retry_after(response: httpx.Response) -> float | None:
    """Seconds of the Retry-After header, given as a number or a date; None without one."""
    text = response.headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - datetime.now(UTC)).total_seconds()
    # float() accepts "nan" and "inf", which are meaningless here.
    return max(0.0, seconds) if seconds < float("inf") else None


def _problem(response: httpx.Response) -> Problem | None:
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:
        return None


def _retryable(response: httpx.Response) -> bool:
    if response.status_code not in RETRY_STATUSES:
        return False
    problem = _problem(response)
    # A proxy's 502 or 503 has no problem of ours, and is usually temporary.
    return problem is None or problem.retryable


def may_pass(error: httpx.RequestError) -> bool:
    """Whether the same request may succeed later."""
    return isinstance(error, httpx.TransportError) and not isinstance(error, httpx.UnsupportedProtocol)


def _past(policy: Policy, deadline: float | None, pause: float) -> bool:
    return deadline is not None and policy.clock() + pause > deadline


def _connection_failed(error: httpx.RequestError) -> ConnectionFailed:
    url = error.request.url
    where = f"{url.scheme}://{url.netloc.decode()}"
    reason = str(error) or type(error).__name__
    return ConnectionFailed(
        f"No answer from {where}: {reason}.",
        hint=f"Is `explaind up` running at {where}? Another address is given as Client(url) or EXPLAIND_URL.",
    )
