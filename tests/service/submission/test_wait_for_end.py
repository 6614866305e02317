"""Waiting for the end of a job: quick, off the loop, patient with the store, never harmful to the job."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from explaind.contract.errors import JobNotFound, StoreUnavailable
from explaind.contract.job import Job
from explaind_jobs.store.job_store import AsyncJobStore
from explaind_jobs.store.records import NewJob
from explaind_service.events.hub import Hub
from explaind_service.submission.wait_for_end import LOOK_S, JobWaiter

NEW = NewJob(method="explain/shap", model="demo", queue="default", request=b"{}")


async def present() -> bool:
    return False


async def gone() -> bool:
    return True


@pytest.fixture
def store(async_valkey, settings) -> AsyncJobStore:
    return AsyncJobStore(async_valkey, settings)


@pytest.fixture
async def hub(settings) -> AsyncIterator[Hub]:
    hub = Hub(settings)
    yield hub
    await hub.close()


async def created(store: AsyncJobStore) -> tuple[Job[Any], str]:
    return await store.follow((await store.create(NEW)).id)


async def test_returns_at_once_after_the_end(store, hub, worker, until) -> None:
    wait = asyncio.create_task(JobWaiter(store, hub).for_end(*await created(store), 30, present))
    await until(lambda: hub.followed)
    claim = await asyncio.to_thread(worker.claim)
    began = time.perf_counter()
    await asyncio.to_thread(worker.end, claim, b"{}")
    ended = await wait
    assert ended.state == "succeeded"
    assert time.perf_counter() - began < LOOK_S / 2, "it was found by looking, not heard of"
    assert hub.followed == 0


async def test_an_end_between_the_look_and_the_wait_is_not_missed(store, hub, worker) -> None:
    job, last = await created(store)
    worker.succeed()
    began = time.perf_counter()
    assert (await JobWaiter(store, hub).for_end(job, last, 30, present)).state == "succeeded"
    assert time.perf_counter() - began < LOOK_S / 2


async def test_an_end_that_others_have_heard_of_is_not_missed(store, hub, worker) -> None:
    job, last = await created(store)
    with hub.subscribe(job.id, last) as other:
        worker.succeed()
        while not any(event.kind == "end" for event in await other.take(5)):
            pass
        began = time.perf_counter()
        assert (await JobWaiter(store, hub).for_end(job, last, 30, present)).state == "succeeded"
        assert time.perf_counter() - began < LOOK_S / 2


async def test_many_wait_beside_each_other(store, hub, worker) -> None:
    jobs = [await created(store) for _ in range(20)]
    began = time.perf_counter()
    waits = [asyncio.create_task(JobWaiter(store, hub).for_end(*job, 30, present)) for job in jobs]
    for _ in jobs:
        await asyncio.to_thread(worker.succeed)
    assert {job.state for job in await asyncio.gather(*waits)} == {"succeeded"}
    assert time.perf_counter() - began < 5


async def test_an_event_that_is_missed_costs_a_second(store, hub, worker) -> None:
    job, _ = await created(store)
    future = "99999999999999-0"  # nothing is ever heard after this
    wait = asyncio.create_task(JobWaiter(store, hub).for_end(job, future, 30, present))
    await asyncio.to_thread(worker.succeed)
    began = time.perf_counter()
    assert (await wait).state == "succeeded"
    assert time.perf_counter() - began < 2 * LOOK_S


async def test_gives_up_with_the_job_as_it_stands(store, hub) -> None:
    job, last = await created(store)
    began = time.perf_counter()
    seen = await JobWaiter(store, hub).for_end(job, last, 0.05, present)
    assert seen.state == "queued"
    assert 0.04 < time.perf_counter() - began < 1


async def test_ends_early_when_the_caller_has_gone(store, hub) -> None:
    job, last = await created(store)
    began = time.perf_counter()
    await JobWaiter(store, hub).for_end(job, last, 30, gone)
    assert time.perf_counter() - began < 2 * LOOK_S
    assert (await store.get(job.id)).state == "queued"


@pytest.mark.parametrize("before", [False, True])
async def test_ends_at_once_when_the_service_stops(store, hub, until, before: bool) -> None:
    if before:
        hub.stop()
    wait = asyncio.create_task(JobWaiter(store, hub).for_end(*await created(store), 30, present))
    await until(lambda: before or hub.followed)
    began = time.perf_counter()
    hub.stop()
    assert (await wait).state == "queued"
    assert time.perf_counter() - began < LOOK_S / 2


async def test_deleted_meanwhile(store, hub) -> None:
    job, last = await created(store)
    await store.cancel(job.id)
    await store.delete(job.id)
    with pytest.raises(JobNotFound):
        await JobWaiter(store, hub).for_end(job, last, 30, present)


async def test_waits_for_the_store_too(async_valkey, settings, hub, worker) -> None:
    class Stumbling(AsyncJobStore):
        stumbles = 2

        async def get(self, job_id: str, caller: str = "*") -> Job[Any]:
            if self.stumbles:
                self.stumbles -= 1
                raise StoreUnavailable("gone for a moment")
            return await super().get(job_id, caller)

    job, last = await created(AsyncJobStore(async_valkey, settings))
    worker.succeed()
    stumbling = Stumbling(async_valkey, settings)
    assert (await JobWaiter(stumbling, hub).for_end(job, last, 30, present)).state == "succeeded"
    assert stumbling.stumbles == 0
