"""Script calls for the transitions and queries of a job: script name, arguments, and parsing of the reply.

Shared by the sync and the async store, so that the logic exists once.
"""

import hashlib
import json
import secrets
from collections.abc import Sequence
from typing import Any, Literal, get_args

from pydantic import TypeAdapter

from explaind.contract.errors import (
    IdempotencyKeyReused,
    JobActive,
    QueueExpired,
    QueueFull,
    StoreUnavailable,
    WorkerLost,
)
from explaind.contract.job import Job, Priority, Progress
from explaind_jobs.redis_scripts.script import Argument, ScriptCall, text
from explaind_jobs.results.codec import StoredResult
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_view import job_from, job_or_missing, not_found, split_provenance
from explaind_jobs.store.records import Claim, Created, LeaseStatus, NewJob, Outcome, StoreStats, WorkerState

Finished = Literal["finished", "fenced", "already", "unknown"]

WORKER_EXPIRY_MS = 30_000
FULL_QUEUE_RETRY_S = 5.0
ORIGIN_DIGITS = 16
ID_DIGITS = "0123456789abcdefghijklmnopqrstuv"
# A job of high priority is placed as if created this much earlier: it overtakes, but starves no other.
HEAD_START_S: dict[Priority, int] = {"low": -600, "normal": 0, "high": 600}

_worker_state = TypeAdapter(WorkerState)
_metadata = TypeAdapter(dict[str, str])


def create(settings: JobsSettings, job: NewJob) -> ScriptCall[Created]:
    """Accept a job, or return the one its idempotency key names, or one with the cached result."""

    def parse(reply: Any) -> Created:
        outcome, last = text(reply[0]), text(reply[2])
        _refuse(outcome, settings, job)
        return Created(job_from(reply[1]), last, existing=outcome == "existing")

    metadata = _metadata.dump_json(dict(sorted(job.metadata.items())))
    body = _digest(job.method.encode(), job.model.encode(), job.request, metadata)
    named = _digest(job.key.encode(), job.idempotency_key.encode()) if job.idempotency_key is not None else ""
    chance = _chance()
    keep_s = min(job.keep_s or settings.job_ttl_s, settings.max_job_ttl_s)
    args: list[Argument] = [chance, job.method, job.model, job.queue, job.request, metadata, named, body, job.key]
    args += [job.priority, HEAD_START_S[job.priority] * 1_000_000, keep_s]
    args += [job.timeout_s or "", job.webhook or "", job.request_id or "", job.trace or "", job.cache_key or ""]
    args += [settings.max_queued, job.allowance.max_queued]
    args += [int(settings.max_queued_bytes), int(settings.max_queued_bytes_per_key)]
    return ScriptCall("create", args, parse)


def claim(
    settings: JobsSettings, worker: str, queues: Sequence[str], resident: Sequence[str] = (), held: int = 0
) -> ScriptCall[Claim | None]:
    """Claim the job that should run next, if any waits; `held` is the number of jobs that the worker already runs."""

    def parse(reply: Any) -> Claim | None:
        if not reply:
            return None
        job_id, attempt, method, model, request, queued_ms, suspect, timeout_s, key, request_id, trace = reply
        return Claim(
            id=text(job_id),
            attempt=int(attempt),
            method=text(method),
            model=text(model),
            request=bytes(request),
            queued_s=int(queued_ms) / 1000,
            suspect=bool(suspect),
            timeout_s=float(timeout_s) if timeout_s else None,
            key=text(key),
            request_id=text(request_id) or None,
            trace=text(trace) or None,
        )

    patience_ms, affinity_ms = round(settings.suspect_patience_s * 1000), round(settings.affinity_s * 1000)
    # The client retries a call whose reply was lost; by the token the script recognizes it.
    token = secrets.token_hex(8)
    args = [worker, _lease_ms(settings), held, affinity_ms, patience_ms, token, len(queues), *queues, *resident]
    return ScriptCall("claim", args, parse)


def heartbeat(
    settings: JobsSettings, worker: WorkerState, held: Sequence[tuple[str, int]]
) -> ScriptCall[dict[str, LeaseStatus]]:
    """Report that the worker is alive, extend its leases, and return their status."""

    def parse(reply: Any) -> dict[str, LeaseStatus]:
        words = [text(word) for word in reply]
        return {job_id: LeaseStatus(word) for job_id, word in zip(words[::2], words[1::2], strict=True)}

    pairs = [word for job_id, attempt in held for word in (job_id, attempt)]
    args = [worker.name, _worker_state.dump_json(worker), WORKER_EXPIRY_MS, _lease_ms(settings), *pairs]
    return ScriptCall("heartbeat", args, parse)


def progress(settings: JobsSettings, job_id: str, attempt: int, state: Progress) -> ScriptCall[LeaseStatus]:
    """Record a job's progress, extend its lease, and return its status."""
    args = [job_id, attempt, _lease_ms(settings), state.model_dump_json()]
    return ScriptCall("progress", args, lambda reply: LeaseStatus(text(reply)))


def finish(job_id: str, attempt: int, outcome: Outcome, result: StoredResult | None = None) -> ScriptCall[Finished]:
    """Store the outcome of an attempt, unless a newer attempt has replaced it.

    `result` is the reference to the outcome's result; its blob, if any, is already in the blob store.
    """

    def parse(reply: Any) -> Finished:
        word = text(reply)
        if word == "unwritten":
            raise StoreUnavailable("The result waited too long to be referred to.", hint="Nothing was lost. Try again.")
        return next(known for known in get_args(Finished) if known == word)

    own, common = split_provenance(outcome.provenance)
    error = "" if outcome.error is None else outcome.error.model_dump_json()
    # Omitted fields are read as their defaults.
    timing = "" if outcome.timing is None else outcome.timing.model_dump_json(exclude_defaults=True)
    args: list[Argument] = [job_id, attempt, outcome.state.value]
    args += ["", b""] if result is None else [_described(result), result.inline or b""]
    origin = f"{outcome.revision or ''}\n{common}"
    args += [error, own, timing, origin, _digest(origin.encode())[:ORIGIN_DIGITS]]
    args += [outcome.timing.tokens_evaluated if outcome.timing else 0]
    args += [outcome.progress.model_dump_json() if outcome.progress else ""]
    return ScriptCall("finish", args, parse)


def cancel(job_id: str, caller: str) -> ScriptCall[Job[Any]]:
    """Cancel a waiting job, ask a running one to stop, leave an ended one alone."""
    return ScriptCall("cancel", [job_id, caller], lambda reply: job_or_missing(job_id, reply))


def release(settings: JobsSettings, job_id: str, attempt: int, *, lost: bool = False) -> ScriptCall[bool]:
    """Return a job to the queue: unharmed, or `lost` because its worker or device broke."""
    return ScriptCall("release", [job_id, attempt, int(lost), *_loss(settings)], bool)


def reclaim(settings: JobsSettings, worker: str) -> ScriptCall[list[str]]:
    """Requeue the jobs of a dead predecessor of that name; each counts as a loss."""
    return ScriptCall("reclaim", [worker, *_loss(settings)], lambda reply: [text(job_id) for job_id in reply])


def reap(settings: JobsSettings) -> ScriptCall[int]:
    """Requeue or fail jobs whose lease has expired, and fail those that have waited too long."""
    expired = QueueExpired(
        f"No worker took the job within {settings.queue_ttl_s} s.",
        hint="Is there a worker for the model's queue (GET /readyz)? Then send the request again.",
    ).problem()
    return ScriptCall("reap", [*_loss(settings), settings.queue_ttl_s * 1000, expired.model_dump_json()], int)


def delete(job_id: str, caller: str) -> ScriptCall[None]:
    """Delete an ended job and its result."""

    def parse(reply: Any) -> None:
        outcome = text(reply)
        if outcome == "unknown":
            raise not_found(job_id)
        if outcome == "active":
            raise JobActive(f"{job_id} has not ended.", hint="Cancel it first, then delete it.")

    return ScriptCall("delete", [job_id, caller], parse)


def get(job_id: str, caller: str) -> ScriptCall[Job[Any]]:
    """The job as shown to callers, without its result."""
    return ScriptCall("get", [job_id, caller], lambda reply: job_or_missing(job_id, reply))


def follow(job_id: str, caller: str) -> ScriptCall[tuple[Job[Any], str]]:
    """The job, and the id of its latest event: reading events after it misses none."""

    def parse(reply: Any) -> tuple[Job[Any], str]:
        view, last = reply if reply is not None else (None, b"")
        return job_or_missing(job_id, view), text(last)

    return ScriptCall("follow", [job_id, caller], parse)


def events_key(settings: JobsSettings, job_id: str) -> str:
    """Key of a job's event stream; the same as in common.lua."""
    return f"{settings.key_prefix}events:{job_id}"


def waiting() -> ScriptCall[dict[str, int]]:
    """How many jobs wait in each queue."""

    def parse(reply: Any) -> dict[str, int]:
        return {text(queue): int(count) for queue, count in zip(reply[::2], reply[1::2], strict=True)}

    return ScriptCall("waiting", [], parse)


def stats() -> ScriptCall[StoreStats]:
    """State of the store as a whole."""

    def parse(reply: Any) -> StoreStats:
        facts, counters = json.loads(reply[0]), reply[1]
        return StoreStats(
            depths={(queue, model): int(count) for queue, model, count in facts["depths"] or ()},
            ages={queue: float(age) for queue, age in facts["ages"] or ()},
            running=int(facts["running"]),
            outbox=int(facts["outbox"]),
            waiting_bytes=int(facts["waiting_bytes"]),
            counters={
                tuple(text(name).split("|")): float(value)
                for name, value in zip(counters[::2], counters[1::2], strict=True)
            },
        )

    return ScriptCall("stats", [], parse)


def workers() -> ScriptCall[list[WorkerState]]:
    """The live workers, by name."""
    return ScriptCall(
        "workers", [WORKER_EXPIRY_MS], lambda reply: [_worker_state.validate_json(state) for state in reply]
    )


def deregister(worker: str) -> ScriptCall[None]:
    """Report that the worker has stopped."""
    return ScriptCall("deregister", [worker], lambda reply: None)


def check_writable() -> ScriptCall[None]:
    """A write that changes nothing; refused whenever other writes are."""
    return ScriptCall("writable", [], lambda reply: None)


def _refuse(outcome: str, settings: JobsSettings, job: NewJob) -> None:
    """Raises the error that a refusal by CREATE stands for."""
    if outcome == "reused":
        raise IdempotencyKeyReused(
            "This Idempotency-Key was first used with another request.",
            hint="Use a new key for a new request; repeat a request only with the very same body.",
        )
    bounds = {
        "full": f"{settings.max_queued} jobs",
        "full_key": f"{job.allowance.max_queued} jobs of this key",
        "full_bytes": f"Requests of nearly {settings.max_queued_bytes} bytes",
        "full_key_bytes": f"Requests of this key of nearly {settings.max_queued_bytes_per_key} bytes",
    }
    if outcome in bounds:
        raise QueueFull(
            f"{bounds[outcome]} are waiting already, and no more are taken.",
            hint="Try again later.",
            retry_after=FULL_QUEUE_RETRY_S,
        )


def _chance() -> str:
    """Fifteen random digits, 75 bits, for ids that cannot be guessed."""
    bits = int.from_bytes(secrets.token_bytes(10))  # one system call; fifteen would cost half a request
    return "".join(ID_DIGITS[bits >> place & 31] for place in range(0, 75, 5))


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


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
    return [settings.max_losses, problem.model_dump_json()]
