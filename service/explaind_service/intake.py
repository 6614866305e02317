"""How a validated request becomes a job: model found, limits held, job stored, worker rung."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from explaind.contract.errors import StoreUnavailable
from explaind.contract.job import Job, JobState
from explaind.contract.method import Method
from explaind.contract.subject import ModelRequest
from explaind_jobs.catalogue import Catalogue
from explaind_jobs.queue import PermitPublisher
from explaind_jobs.record import NewJob
from explaind_jobs.store import AsyncJobStore
from explaind_jobs.view import links
from explaind_service.admission import check_limits


@dataclass(frozen=True)
class Accepted:
    """A job that was taken; `replayed` when its idempotency key named a job that was there already."""

    job: Job[Any]
    replayed: bool


@dataclass(frozen=True)
class Intake:
    """Takes jobs."""

    catalogue: Catalogue
    store: AsyncJobStore
    permits: PermitPublisher

    async def accept(self, method: Method[..., Any], params: ModelRequest, idempotency_key: str | None) -> Accepted:
        """Stores the job and rings for a worker.

        Raises:
            UnknownModel: the catalogue holds no such model.
            TargetTooLong, TooManyUnits: the model's limits say no already.
            IdempotencyKeyReused: the key belongs to another request.
            QueueFull, StoreUnavailable: not now.
        """
        entry = self.catalogue.find(params.model)
        check_limits(params, entry)
        new = NewJob(
            method=method.path,
            model=entry.name,
            queue=entry.queue,
            request=params.model_dump_json().encode(),
            metadata=params.metadata,
            idempotency_key=idempotency_key,
        )
        created = await self.store.create(new)
        if not created.existing:
            self.permits.ring(entry.queue)
        return Accepted(job=await self._as_stored(created.id, new), replayed=created.existing)

    async def _as_stored(self, job_id: str, new: NewJob) -> Job[Any]:
        try:
            return await self.store.get(job_id)
        except StoreUnavailable:
            # It is in the store: to refuse it now would make the caller send it twice.
            return Job[Any](
                id=job_id,
                method=new.method,
                model=new.model,
                state=JobState.QUEUED,
                created_at=datetime.now(UTC),
                expires_at=None,
                queue_position=None,
                attempt=0,
                error=None,
                metadata=new.metadata,
                links=links(job_id),
            )
