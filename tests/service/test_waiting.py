"""Waiting for the end of a job: quick, off the loop, patient with the store, never harmful to the job."""

import asyncio
import time
from typing import Any

import pytest

from explaind.contract.errors import JobNotFound, StoreUnavailable
from explaind.contract.job import Job
from explaind_jobs.record import NewJob
from explaind_jobs.store import AsyncJobStore
from explaind_service.waiting import Waiting

NEW = NewJob(method="explain/shap", model="demo", queue="default", request=b"{}")


async def present() -> bool:
    return False


async def gone() -> bool:
    return True


@pytest.fixture
def store(async_valkey, settings) -> AsyncJobStore:
    return AsyncJobStore(async_valkey, settings)


async def test_returns_soon_after_the_end(store, worker) -> None:
    job = await store.get((await store.create(NEW)).id)
    wait = asyncio.create_task(Waiting(store).for_end(job, 30, present))
    await asyncio.sleep(0)
    await asyncio.to_thread(worker.succeed)
    began = time.perf_counter()
    ended = await wait
    assert ended.state == "succeeded"
    assert time.perf_counter() - began < 1


async def test_gives_up_with_the_job_as_it_stands(store) -> None:
    job = await store.get((await store.create(NEW)).id)
    began = time.perf_counter()
    seen = await Waiting(store).for_end(job, 0.05, present)
    assert seen.state == "queued"
    assert 0.04 < time.perf_counter() - began < 1


@pytest.mark.parametrize("reason", ["gone", "stopping"])
async def test_ends_early_and_leaves_the_job_alone(store, reason: str) -> None:
    job = await store.get((await store.create(NEW)).id)
    waiting = Waiting(store)
    if reason == "stopping":
        waiting.stop()
    began = time.perf_counter()
    await waiting.for_end(job, 30, gone if reason == "gone" else present)
    assert time.perf_counter() - began < 1
    assert (await store.get(job.id)).state == "queued"


async def test_deleted_meanwhile(store) -> None:
    job = await store.get((await store.create(NEW)).id)
    await store.cancel(job.id)
    await store.delete(job.id)
    with pytest.raises(JobNotFound):
        await Waiting(store).for_end(job, 30, present)


async def test_waits_for_the_store_too(async_valkey, settings, worker) -> None:
    class Stumbling(AsyncJobStore):
        stumbles = 2

        async def get(self, job_id: str) -> Job[Any]:
            if self.stumbles:
                self.stumbles -= 1
                raise StoreUnavailable("gone for a moment")
            return await super().get(job_id)

    steady = AsyncJobStore(async_valkey, settings)
    job = await steady.get((await steady.create(NEW)).id)
    worker.succeed()
    stumbling = Stumbling(async_valkey, settings)
    assert (await Waiting(stumbling).for_end(job, 30, present)).state == "succeeded"
    assert stumbling.stumbles == 0
