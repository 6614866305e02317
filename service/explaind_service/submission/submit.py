"""How a validated request becomes a job: model found, limits held, job stored, worker rung."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from explaind.contract.estimate import ESTIMATE
from explaind.contract.job import Job
from explaind.contract.method import Method
from explaind.contract.request import ModelRequest
from explaind_jobs.catalogue import Catalogue, ModelEntry
from explaind_jobs.store.job_store import AsyncJobStore
from explaind_jobs.store.permits import PermitPublisher
from explaind_jobs.store.rate_limit import give_back
from explaind_jobs.store.records import ANONYMOUS, Allowance, NewJob, Rate
from explaind_service.submission.file_access import AsyncFileStore
from explaind_service.submission.limits import check_limits
from explaind_service.webhooks.ssrf_guard import WebhookGuard


@dataclass(frozen=True)
class JobOrigin:
    """Who asks, and how: the API key and what it may do, the request's id and trace, whether a known answer will do.

    `rate` is what the key has left of its rate, where it has one: the request is counted already.
    """

    key: str = ANONYMOUS
    allowance: Allowance = field(default_factory=Allowance)
    idempotency_key: str | None = None
    request_id: str | None = None
    trace: str | None = None
    from_cache: bool = True
    rate: Rate | None = None


@dataclass(frozen=True)
class Submission:
    """A job that was taken; `replayed` when its idempotency key named a job that was there already.

    `last` is the id of its last event by then: whoever waits listens from there on.
    """

    job: Job[Any]
    last: str
    replayed: bool
    rate: Rate | None = None


@dataclass(frozen=True)
class JobSubmitter:
    """Takes jobs."""

    catalogue: Catalogue
    store: AsyncJobStore
    permits: PermitPublisher
    guard: WebhookGuard
    filing: AsyncFileStore

    async def accept(self, method: Method[..., Any], params: ModelRequest, asker: JobOrigin) -> Submission:
        """Stores the job and rings for a worker, unless the answer is known.

        Raises:
            InvalidRequest: its webhook may not be reached.
            UnknownModel: the catalogue holds no such model.
            UnknownDataset, UnknownArtifact: whoever asks has no such file.
            TargetTooLong, TooManyUnits: the model's limits say no already.
            IdempotencyKeyReused: the key belongs to another request.
            QueueFull, StoreUnavailable: not now.
        """
        entry = self.catalogue.find(params.model)
        check_limits(params, entry)
        if params.webhook is not None:
            self.guard.check_url(params.webhook.url)
        await self.filing.check(params, asker.key)
        # What the worker learns changes an estimate; what training left may have been deleted since.
        from_cache = asker.from_cache and method.verb not in {ESTIMATE, "train"}
        new = NewJob(
            method=method.path,
            model=entry.name,
            queue=entry.queue,
            request=params.model_dump_json().encode(),
            metadata=params.metadata,
            idempotency_key=asker.idempotency_key,
            key=asker.key,
            allowance=asker.allowance,
            # An estimate is short, and worth something as long as the job it is about has not begun.
            priority="high" if method.verb == ESTIMATE else params.priority,
            timeout_s=params.timeout_s,
            keep_s=params.keep_s,
            webhook=None if params.webhook is None else params.webhook.model_dump_json(),
            request_id=asker.request_id,
            trace=asker.trace,
            cache_key=answer_key(asker.key, method, entry, params) if from_cache else None,
        )
        created = await self.store.create(new)
        if not (created.existing or created.job.cached):
            self.permits.wake(entry.queue)
        rate = asker.rate
        if created.existing and rate is not None:
            # Who lost an answer may ask again: that costs nothing.
            await self.store.run(give_back(asker.key, asker.allowance))
            rate = None
        return Submission(created.job, created.last, replayed=created.existing, rate=rate)


def answer_key(key: str, method: Method[..., Any], entry: ModelEntry, params: ModelRequest) -> str:
    """A digest of everything that an answer depends on, beside the revision of the weights, which workers tell.

    Keys do not share answers: how fast one comes would tell what others have asked.
    """
    identity = entry.model_dump_json(include={"name", "builtin", "source", "path", "revision", "dtype", "quantization"})
    parts = [key, method.path, method.version, identity]
    return hashlib.sha256("\0".join(parts).encode() + b"\0" + params.cache_fields()).hexdigest()[:32]
