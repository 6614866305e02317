"""Submission: a validated request becomes a job (model look-up, limits, storage, wake-up of a worker)."""

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
    """Origin of a job: API key and its limits, request id and trace, whether a cached result may be used.

    `rate` is what is left of the key's rate limit, if it has one; this request is already counted.
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
    """A submitted job; `replayed` if its idempotency key named an earlier job.

    `last` is the id of its latest event, after which a waiter listens.
    """

    job: Job[Any]
    last: str
    replayed: bool
    rate: Rate | None = None


@dataclass(frozen=True)
class JobSubmitter:
    """Submits jobs."""

    catalogue: Catalogue
    store: AsyncJobStore
    permits: PermitPublisher
    guard: WebhookGuard
    filing: AsyncFileStore

    async def accept(self, method: Method[..., Any], params: ModelRequest, asker: JobOrigin) -> Submission:
        """Stores the job and wakes a worker, unless the result is cached.

        Raises:
            InvalidRequest: its webhook URL is not allowed.
            UnknownModel: the catalogue has no such model.
            UnknownDataset, UnknownArtifact: the caller has no such file.
            TargetTooLong, TooManyUnits: it exceeds the model's limits.
            IdempotencyKeyReused: the key belongs to another request.
            QueueFull, StoreUnavailable: temporarily impossible.
        """
        entry = self.catalogue.find(params.model)
        check_limits(params, entry)
        if params.webhook is not None:
            self.guard.check_url(params.webhook.url)
        await self.filing.check(params, asker.key)
        # Estimates change as workers learn timings; the artifact of a training may have been deleted since.
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
            # An estimate is short, and of use only before the job in question starts.
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
            # A caller that lost a response may repeat the request at no cost.
            await self.store.run(give_back(asker.key, asker.allowance))
            rate = None
        return Submission(created.job, created.last, replayed=created.existing, rate=rate)


def answer_key(key: str, method: Method[..., Any], entry: ModelEntry, params: ModelRequest) -> str:
    """Cache key: a digest of everything the result depends on, beside the weights' revision, which workers report.

    API keys do not share cached results: the response time would reveal the requests of others.
    """
    identity = entry.model_dump_json(include={"name", "builtin", "source", "path", "revision", "dtype", "quantization"})
    parts = [key, method.path, method.version, identity]
    return hashlib.sha256("\0".join(parts).encode() + b"\0" + params.cache_fields()).hexdigest()[:32]
