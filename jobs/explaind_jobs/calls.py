"""Every call to the store: which script, with which arguments, and what its reply means.

Shared by the sync and the async store, so that nothing is decided twice.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Generic, Literal, TypeVar, get_args

from pydantic import TypeAdapter

from explaind.contract.errors import (
    IdempotencyKeyReused,
    JobActive,
    QueueFull,
    StoreUnavailable,
    WorkerLost,
)
from explaind.contract.job import Job, JobPage, JobState, Progress
from explaind_jobs.record import Claim, Created, NewJob, Outcome, Standing, WorkerState
from explaind_jobs.results.codec import StoredResult
from explaind_jobs.settings import JobsSettings
from explaind_jobs.view import job_from, job_or_missing, not_found

T = TypeVar("T")
Argument = str | bytes | int
Finished = Literal["finished", "fenced", "already", "unknown"]

WORKER_EXPIRY_MS = 30_000
FULL_QUEUE_RETRY_S = 5.0
LIST_SCAN = 500
ID_DIGITS = "0123456789abcdefghijklmnopqrstuv"

_worker_state = TypeAdapter(WorkerState)
_metadata = TypeAdapter(dict[str, str])


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One script call; `parse` turns the reply into its meaning, or raises what it means."""

    script: str
    args: Sequence[Argument]
    parse: Callable[[Any], T]


@cache
def script_text(name: str) -> str:
    """The Lua source of a script, with what all scripts share before it."""
    folder = files("explaind_jobs").joinpath("lua")
    return "\n".join(folder.joinpath(f"{part}.lua").read_text(encoding="utf-8") for part in ("common", "results", name))


def create(settings: JobsSettings, job: NewJob) -> Call[Created]:
    """Accept a job, or find the one its idempotency key named."""
    key = hashlib.sha256(job.idempotency_key.encode()).hexdigest() if job.idempotency_key is not None else ""
    metadata = _metadata.dump_json(dict(sorted(job.metadata.items())))
    body = hashlib.sha256(b"\0".join([job.method.encode(), job.model.encode(), job.request, metadata])).hexdigest()
    chance = "".join(secrets.choice(ID_DIGITS) for _ in range(15))

    def parse(reply: Any) -> Created:
        outcome, job_id = _text(reply[0]), _text(reply[1])
        if outcome == "reused":
            raise IdempotencyKeyReused(
                "This Idempotency-Key was first used with another request.",
                hint="Use a new key for a new request; repeat a request only with the very same body.",
            )
        if outcome == "full":
            raise QueueFull(
                f"{settings.max_queued} jobs are waiting already, and no more are taken.",
                hint="Try again later.",
                retry_after=FULL_QUEUE_RETRY_S,
            )
        return Created(id=job_id, existing=outcome == "existing")

    args = [chance, job.method, job.model, job.queue, job.request, metadata, key, body, settings.max_queued]
    return Call("create", args, parse)


def claim(settings: JobsSettings, worker: str, queues: Sequence[str]) -> Call[Claim | None]:
    """Take the job that should run next, if any waits."""

    def parse(reply: Any) -> Claim | None:
        if not reply:
            return None
        job_id, attempt, method, model, request, queued_ms = reply
        return Claim(
            id=_text(job_id),
            attempt=int(attempt),
            method=_text(method),
            model=_text(model),
            request=bytes(request),
            queued_s=int(queued_ms) / 1000,
        )

    return Call("claim", [worker, _lease_ms(settings), *queues], parse)


def beat(settings: JobsSettings, worker: WorkerState, held: Sequence[tuple[str, int]]) -> Call[dict[str, Standing]]:
    """Tell that the worker lives, extend its leases, and learn what its jobs are."""

    def parse(reply: Any) -> dict[str, Standing]:
        words = [_text(word) for word in reply]
        return {job_id: Standing(word) for job_id, word in zip(words[::2], words[1::2], strict=True)}

    pairs = [word for job_id, attempt in held for word in (job_id, attempt)]
    args = [worker.name, _worker_state.dump_json(worker), WORKER_EXPIRY_MS, _lease_ms(settings), *pairs]
    return Call("beat", args, parse)


def progress(settings: JobsSettings, job_id: str, attempt: int, state: Progress) -> Call[Standing]:
    """Record how far a job is, extend its lease, and learn what it is."""
    args = [job_id, attempt, _lease_ms(settings), state.model_dump_json()]
    return Call("progress", args, lambda reply: Standing(_text(reply)))


def finish(
    settings: JobsSettings, job_id: str, attempt: int, outcome: Outcome, result: StoredResult | None = None
) -> Call[Finished]:
    """Store how an attempt ended, unless it is no longer the one that counts.

    `result` stands for the outcome's; its blob, if it is one, is in the blob store already.
    """

    def parse(reply: Any) -> Finished:
        word = _text(reply)
        if word == "unwritten":
            raise StoreUnavailable("The result waited too long to be referred to.", hint="Nothing was lost. Try again.")
        return next(known for known in get_args(Finished) if known == word)

    parts = (outcome.error, outcome.provenance, outcome.timing)
    args: list[Argument] = [job_id, attempt, outcome.state.value, settings.job_ttl_s]
    args += ["", b""] if result is None else [_described(result), result.inline or b""]
    args += [*("" if part is None else part.model_dump_json() for part in parts)]
    return Call("finish", args, parse)


def cancel(settings: JobsSettings, job_id: str) -> Call[Job[Any]]:
    """Cancel a waiting job, ask a running one to stop, leave an ended one alone."""
    return Call("cancel", [job_id, settings.job_ttl_s], lambda reply: job_or_missing(job_id, reply))


def release(settings: JobsSettings, job_id: str, attempt: int) -> Call[bool]:
    """Give a job back to the queue unharmed."""
    return Call("release", [job_id, attempt, settings.job_ttl_s], bool)


def reclaim(settings: JobsSettings, worker: str) -> Call[list[str]]:
    """Put the jobs of a dead predecessor of that name back; each counts a loss."""
    return Call("reclaim", [worker, *_loss(settings)], lambda reply: [_text(job_id) for job_id in reply])


def reap(settings: JobsSettings) -> Call[int]:
    """Deal with every job whose lease ran out."""
    return Call("reap", _loss(settings), int)


def delete(job_id: str) -> Call[None]:
    """Delete an ended job and its result."""

    def parse(reply: Any) -> None:
        outcome = _text(reply)
        if outcome == "unknown":
            raise not_found(job_id)
        if outcome == "active":
            raise JobActive(f"{job_id} has not ended.", hint="Cancel it first, then delete it.")

    return Call("delete", [job_id], parse)


def get(job_id: str) -> Call[Job[Any]]:
    """The job as callers see it, without its result."""
    return Call("get", [job_id], lambda reply: job_or_missing(job_id, reply))


def list_jobs(
    after: str | None, limit: int, state: JobState | None, method: str | None, model: str | None
) -> Call[tuple[list[Job[Any]], str | None]]:
    """Some of the jobs after one, newest first, and the id to go on after (None: there are no more)."""

    def parse(reply: Any) -> tuple[list[Job[Any]], str | None]:
        return [job_from(row) for row in reply[1:]], _text(reply[0]) or None

    args = [after or "", limit, LIST_SCAN, state.value if state else "", method or "", model or ""]
    return Call("list", args, parse)


class Paging:
    """Gathers one page of a listing over as many calls as its filters need."""

    def __init__(
        self, after: str | None, limit: int, state: JobState | None, method: str | None, model: str | None
    ) -> None:
        self._after, self._limit = after, limit
        self._filters = (state, method, model)
        self._jobs: list[Job[Any]] = []
        self._ended = False

    def next_call(self) -> Call[tuple[list[Job[Any]], str | None]] | None:
        """The next call to make; None when the page is full or nothing is left."""
        missing = self._limit + 1 - len(self._jobs)
        if self._ended or missing <= 0:
            return None
        return list_jobs(self._after, missing, *self._filters)

    def take(self, found: tuple[list[Job[Any]], str | None]) -> None:
        """Add what the call found."""
        jobs, self._after = found
        self._jobs += jobs
        self._ended = self._after is None

    def page(self) -> JobPage:
        """The page gathered."""
        return JobPage(data=self._jobs[: self._limit], has_more=len(self._jobs) > self._limit)


def waiting() -> Call[dict[str, int]]:
    """How many jobs wait in each queue."""

    def parse(reply: Any) -> dict[str, int]:
        return {_text(queue): int(count) for queue, count in zip(reply[::2], reply[1::2], strict=True)}

    return Call("waiting", [], parse)


def workers() -> Call[list[WorkerState]]:
    """The live workers, by name."""
    return Call("workers", [WORKER_EXPIRY_MS], lambda reply: [_worker_state.validate_json(state) for state in reply])


def leave(worker: str) -> Call[None]:
    """The worker has stopped."""
    return Call("leave", [worker], lambda reply: None)


def _described(result: StoredResult) -> str:
    at = "blob" if result.inline is None else "inline"
    return f"{at} {result.digest} {result.size} {result.encoded_size}"


def _lease_ms(settings: JobsSettings) -> int:
    return round(settings.lease_s * 1000)


def _loss(settings: JobsSettings) -> list[Argument]:
    problem = WorkerLost(
        f"The worker died {settings.max_losses} times while it ran this job.",
        hint="It may need more memory than the worker has: try a shorter prompt or a smaller budget.",
    ).problem()
    return [settings.max_losses, settings.job_ttl_s, problem.model_dump_json()]


def _text(raw: bytes | str) -> str:
    return raw.decode() if isinstance(raw, bytes) else raw
