"""The job store: records in Redis; every transition is one Lua call.

`JobStore` serves the worker, `AsyncJobStore` the API; both are thin shells over `explaind_jobs.store.transitions`.
Every method raises StoreUnavailable when Redis does not answer or refuses.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

import redis
import redis.asyncio
from redis.commands.core import AsyncScript, Script

from explaind.contract.errors import StoreUnavailable
from explaind.contract.job import Job, JobPage, Progress
from explaind_jobs.redis_scripts.refusals import translated
from explaind_jobs.redis_scripts.script import ScriptCall, script_text
from explaind_jobs.results import scripts as result_calls
from explaind_jobs.results.codec import StoredResult, encode
from explaind_jobs.results.garbage_collection import sweep
from explaind_jobs.results.reader import ResultBodies
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store import transitions
from explaind_jobs.store.listing import Filters, Paging
from explaind_jobs.store.records import ANYONE, Claim, Created, LeaseStatus, NewJob, Outcome, StoreStats, WorkerState
from explaind_jobs.store.transitions import Finished

T = TypeVar("T")


class JobStore:
    """Synchronous job store, for the worker."""

    def __init__(self, client: redis.Redis, settings: JobsSettings) -> None:
        self.client = client
        self.settings = settings
        self.bodies = ResultBodies(settings)
        self._scripts: dict[str, Script] = {}

    def create(self, job: NewJob) -> Created:
        """Accept a job. Raises QueueFull and IdempotencyKeyReused."""
        return self.run(transitions.create(self.settings, job))

    def claim(self, worker: str, queues: Sequence[str], resident: Sequence[str] = (), held: int = 0) -> Claim | None:
        """The next job for `worker`, which already runs `held` jobs; None if none waits in these queues.

        Jobs of `resident` models, those in its memory, are preferred.
        """
        return self.run(transitions.claim(self.settings, worker, queues, resident, held))

    def heartbeat(self, worker: WorkerState, held: Sequence[tuple[str, int]]) -> dict[str, LeaseStatus]:
        """Report that the worker is alive and holds these (job, attempt) pairs; returns the status of each lease."""
        return self.run(transitions.heartbeat(self.settings, worker, held))

    def progress(self, job_id: str, attempt: int, progress: Progress) -> LeaseStatus:
        """Record a job's progress; returns the status of the lease."""
        return self.run(transitions.progress(self.settings, job_id, attempt, progress))

    def finish(self, job_id: str, attempt: int, outcome: Outcome) -> Finished:
        """Store a job's outcome: `fenced` if a newer attempt owns the job, `already` if it has ended.

        Raises StoreUnavailable also if the blob store refuses a large result.
        """
        result = None if outcome.result is None else self._kept(outcome.result)
        return self.run(transitions.finish(job_id, attempt, outcome, result))

    def release(self, job_id: str, attempt: int, *, lost: bool = False) -> bool:
        """Return a job to the queue, unharmed or `lost`; False if this attempt does not hold it."""
        return self.run(transitions.release(self.settings, job_id, attempt, lost=lost))

    def reclaim(self, worker: str) -> list[str]:
        """Requeue the jobs of the dead predecessor called `worker`; returns those that wait again."""
        return self.run(transitions.reclaim(self.settings, worker))

    def reap(self) -> int:
        """Requeue or fail jobs whose lease has expired; returns how many there were."""
        return self.run(transitions.reap(self.settings))

    def cancel(self, job_id: str, caller: str = ANYONE) -> Job[Any]:
        """Cancel a job, idempotently. Raises JobNotFound."""
        return self.run(transitions.cancel(job_id, caller))

    def delete(self, job_id: str, caller: str = ANYONE) -> None:
        """Delete an ended job. Raises JobNotFound and JobActive."""
        self.run(transitions.delete(job_id, caller))

    def get(self, job_id: str, caller: str = ANYONE) -> Job[Any]:
        """The job, without its result. Raises JobNotFound."""
        return self.run(transitions.get(job_id, caller))

    def result(self, job_id: str) -> bytes | None:
        """The job's result (JSON), or None when it has none. Raises ResultLost."""
        stored = self.run(result_calls.stored(job_id))
        return None if stored is None else self.bodies.raw(stored)

    def sweep(self) -> int:
        """Remove a batch of unreferenced large results; returns how many there were."""
        return sweep(self.run, self.bodies.blobs)

    def list(
        self,
        after: str | None,
        limit: int,
        filters: Filters = Filters(),  # noqa: B008 - frozen
        caller: str = ANYONE,
    ) -> JobPage:
        """A page of jobs, newest first, that follow `after`."""
        page = Paging(caller, after, limit, filters)
        while (call := page.next_call()) is not None:
            page.take(self.run(call))
        return page.page()

    def waiting(self) -> dict[str, int]:
        """How many jobs wait in each queue."""
        return self.run(transitions.waiting())

    def queued(self) -> int:
        """How many jobs wait."""
        return sum(self.waiting().values())

    def workers(self) -> Sequence[WorkerState]:
        """The live workers, by name."""
        return self.run(transitions.workers())

    def deregister(self, worker: str) -> None:
        """Report that a worker has stopped."""
        self.run(transitions.deregister(worker))

    def ping(self) -> bool:
        """Whether Redis answers; never raises StoreUnavailable."""
        try:
            with translated():
                return bool(self.client.ping())
        except StoreUnavailable:
            return False

    def check_writable(self) -> None:
        """Try a write that changes nothing. Raises StoreUnavailable when it is refused."""
        self.run(transitions.check_writable())

    def _kept(self, raw: bytes) -> StoredResult:
        encoded = encode(raw)
        stored = encoded.stored(self.settings.inline_result_bytes)
        if stored.inline is None:
            # Announced first, so that it is not collected before the record refers to it.
            self.run(result_calls.announce(encoded.digest))
            self.bodies.blobs.write(encoded.digest, encoded.data)
        return stored

    def run(self, call: ScriptCall[T]) -> T:
        """Run a script call; returns or raises what its parser does."""
        script = self._scripts.get(call.script)
        if script is None:
            script = self._scripts[call.script] = self.client.register_script(script_text(call.script))
        with translated():
            reply = script(keys=[self.settings.key_prefix], args=call.args)
        return call.parse(reply)


class AsyncJobStore:
    """Asynchronous job store, for the API."""

    def __init__(self, client: redis.asyncio.Redis, settings: JobsSettings) -> None:
        self.client = client
        self.settings = settings
        self.bodies = ResultBodies(settings)
        self._scripts: dict[str, AsyncScript] = {}

    async def create(self, job: NewJob) -> Created:
        """Accept a job. Raises QueueFull and IdempotencyKeyReused."""
        return await self.run(transitions.create(self.settings, job))

    async def get(self, job_id: str, caller: str = ANYONE) -> Job[Any]:
        """The job, without its result. Raises JobNotFound."""
        return await self.run(transitions.get(job_id, caller))

    async def result(self, job_id: str) -> bytes | None:
        """The job's result (JSON), or None when it has none. Raises ResultLost."""
        stored = await self.stored_result(job_id)
        return None if stored is None else await asyncio.to_thread(self.bodies.raw, stored)

    async def stored_result(self, job_id: str) -> StoredResult | None:
        """The reference to the job's result; its bytes come from `ResultBodies`, which blocks."""
        return await self.run(result_calls.stored(job_id))

    async def list(
        self,
        after: str | None,
        limit: int,
        filters: Filters = Filters(),  # noqa: B008 - frozen
        caller: str = ANYONE,
    ) -> JobPage:
        """A page of jobs, newest first, that follow `after`."""
        page = Paging(caller, after, limit, filters)
        while (call := page.next_call()) is not None:
            page.take(await self.run(call))
        return page.page()

    async def cancel(self, job_id: str, caller: str = ANYONE) -> Job[Any]:
        """Cancel a job, idempotently. Raises JobNotFound."""
        return await self.run(transitions.cancel(job_id, caller))

    async def delete(self, job_id: str, caller: str = ANYONE) -> None:
        """Delete an ended job. Raises JobNotFound and JobActive."""
        await self.run(transitions.delete(job_id, caller))

    async def workers(self) -> Sequence[WorkerState]:
        """The live workers, by name."""
        return await self.run(transitions.workers())

    async def follow(self, job_id: str, caller: str = ANYONE) -> tuple[Job[Any], str]:
        """The job, and the id of its latest event. Raises JobNotFound."""
        return await self.run(transitions.follow(job_id, caller))

    async def stats(self) -> StoreStats:
        """Counts of waiting and running jobs, and the counters."""
        return await self.run(transitions.stats())

    async def queued(self) -> int:
        """How many jobs wait."""
        return sum((await self.run(transitions.waiting())).values())

    async def ping(self) -> bool:
        """Whether Redis answers; never raises StoreUnavailable."""
        try:
            with translated():
                return bool(await self.client.ping())
        except StoreUnavailable:
            return False

    async def check_writable(self) -> None:
        """Try a write that changes nothing. Raises StoreUnavailable when it is refused."""
        await self.run(transitions.check_writable())

    async def run(self, call: ScriptCall[T]) -> T:
        """Run a script call; returns or raises what its parser does."""
        script = self._scripts.get(call.script)
        if script is None:
            script = self._scripts[call.script] = self.client.register_script(script_text(call.script))
        with translated():
            reply = await script(keys=[self.settings.key_prefix], args=call.args)
        return call.parse(reply)
