"""Every transition of a job, on a real server."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
import redis.asyncio

from explaind.contract.errors import (
    IdempotencyKeyReused,
    JobActive,
    JobNotFound,
    QueueFull,
    StoreUnavailable,
    UnknownModel,
)
from explaind.contract.job import JobState, Progress, Timing
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import AsyncJobStore, JobStore
from explaind_jobs.store.listing import Filters, list_jobs
from explaind_jobs.store.records import Claim, LeaseStatus, NewJob, Outcome, WorkerState

DONE = Outcome(JobState.SUCCEEDED, result=b'{"values": [1]}', timing=Timing.model_validate({"seconds": 1.5}))
FAILED = Outcome(JobState.FAILED, error=UnknownModel("No model is called 'x'.").problem())
PROGRESS = Progress(phase="evaluating", done=3, total=9, unit="coalitions")


def new_job(**fields: object) -> NewJob:
    return NewJob(**{"method": "explain/shap", "model": "demo", "queue": "default", "request": b"{}", **fields})  # type: ignore[arg-type]


def worker(name: str = "w") -> WorkerState:
    return WorkerState(name, "1", ["default"], ["demo"], [], 2, datetime.now(UTC))


@pytest.fixture
def settings(redis_url: str) -> JobsSettings:
    return JobsSettings(redis_url=redis_url, max_queued=5, max_losses=2)


@pytest.fixture
def store(valkey: redis.Redis, settings: JobsSettings) -> JobStore:
    return JobStore(valkey, settings)


def claimed(store: JobStore, name: str = "w") -> Claim:
    claim = store.claim(name, ["default"])
    assert claim is not None
    return claim


def expire_leases(store: JobStore) -> None:
    key = f"{store.settings.key_prefix}leases"
    held: Any = store.client.zrange(key, 0, -1)
    store.client.zadd(key, dict.fromkeys(held, 1))


def test_a_new_job_waits_at_its_place(store: JobStore) -> None:
    first = store.create(new_job(metadata={"run": "7"}))
    second = store.create(new_job())
    job = store.get(first.id)
    assert (job.state, job.queue_position, job.attempt) == (JobState.QUEUED, 0, 0)
    assert (job.method, job.model, job.metadata) == ("explain/shap", "demo", {"run": "7"})
    assert abs(job.created_at.timestamp() - time.time()) < 60
    assert job.links.result == f"/jobs/{first.id}/result"
    assert store.get(second.id).queue_position == 1
    assert store.queued() == 2


def test_ids_sort_by_time(store: JobStore) -> None:
    ids = [store.create(new_job()).id for _ in range(5)]
    assert ids == sorted(ids)
    assert all(len(job_id) == 30 and job_id.startswith("job_") for job_id in ids)


def test_every_key_carries_the_prefix(valkey: redis.Redis, settings: JobsSettings) -> None:
    store = JobStore(valkey, settings.model_copy(update={"key_prefix": "other:"}))
    job = store.create(new_job(idempotency_key="k"))
    claim = claimed(store)
    store.heartbeat(worker(), [(job.id, claim.attempt)])
    store.finish(job.id, claim.attempt, DONE)
    keys = valkey.keys("*")
    assert keys
    assert all(key.startswith(b"other:") for key in keys)  # type: ignore[union-attr]


def test_same_key_and_body_is_the_same_job(store: JobStore) -> None:
    first = store.create(new_job(idempotency_key="k", metadata={"a": "1", "b": "2"}))
    again = store.create(new_job(idempotency_key="k", metadata={"b": "2", "a": "1"}))
    assert (first.existing, again.existing, again.id) == (False, True, first.id)
    assert store.queued() == 1


@pytest.mark.parametrize(
    "other", [{"request": b"[]"}, {"method": "infer/score"}, {"model": "x"}, {"metadata": {"a": "1"}}]
)
def test_same_key_and_other_body_is_refused(store: JobStore, other: dict[str, object]) -> None:
    store.create(new_job(idempotency_key="k"))
    with pytest.raises(IdempotencyKeyReused):
        store.create(new_job(idempotency_key="k", **other))


def test_a_key_answers_even_when_the_queue_is_full(store: JobStore) -> None:
    first = store.create(new_job(idempotency_key="k"))
    for _ in range(4):
        store.create(new_job())
    assert store.create(new_job(idempotency_key="k")).id == first.id
    with pytest.raises(QueueFull) as caught:
        store.create(new_job())
    assert caught.value.retry_after


def test_the_key_of_a_deleted_job_is_free(store: JobStore) -> None:
    first = store.create(new_job(idempotency_key="k"))
    store.cancel(first.id)
    store.delete(first.id)
    again = store.create(new_job(idempotency_key="k", request=b"[]"))
    assert not again.existing


def test_a_key_lives_as_long_as_its_job(store: JobStore, valkey: redis.Redis) -> None:
    job_id = store.create(new_job(idempotency_key="k")).id
    (key,) = list(valkey.scan_iter("explaind:idem:*"))
    assert valkey.ttl(key) == -1
    store.finish(job_id, claimed(store).attempt, DONE)
    assert 0 < valkey.ttl(key) <= 86_400  # type: ignore[operator]


def test_claims_take_the_oldest_of_several_queues(store: JobStore) -> None:
    ids = [store.create(new_job(queue=queue)).id for queue in ("b", "a", "c", "b")]
    claims = [store.claim("w", ["a", "b"]) for _ in range(4)]
    assert [claim and claim.id for claim in claims] == [ids[0], ids[1], ids[3], None]
    last = store.claim("w", ["c"])
    assert last is not None
    assert (last.id, last.attempt, last.request) == (ids[2], 1, b"{}")
    assert last.queued_s >= 0


def test_a_claimed_job_runs(store: JobStore) -> None:
    job_id = store.create(new_job()).id
    claim = claimed(store)
    job = store.get(job_id)
    assert (job.state, job.attempt, job.queue_position) == (JobState.RUNNING, 1, None)
    assert job.started_at is not None
    assert store.progress(job_id, claim.attempt, PROGRESS) is LeaseStatus.HELD
    assert store.get(job_id).progress == PROGRESS


def test_the_end_of_a_job(store: JobStore, valkey: redis.Redis) -> None:
    job_id = store.create(new_job()).id
    assert store.finish(job_id, claimed(store).attempt, DONE) == "finished"
    job = store.get(job_id)
    assert job.state is JobState.SUCCEEDED
    assert job.timing == DONE.timing
    assert job.finished_at is not None
    assert job.expires_at is not None
    assert store.result(job_id) == DONE.result
    for key in (f"explaind:job:{job_id}", *valkey.scan_iter("explaind:result:*")):
        assert 0 < valkey.ttl(key) <= 86_400  # type: ignore[operator]
    assert store.finish(job_id, 1, FAILED) == "already"


def test_a_failed_job_carries_its_problem(store: JobStore) -> None:
    job_id = store.create(new_job()).id
    store.finish(job_id, claimed(store).attempt, FAILED)
    assert store.get(job_id).error == FAILED.error
    assert store.result(job_id) is None


def test_an_empty_result_is_a_result(store: JobStore) -> None:
    job_id = store.create(new_job()).id
    store.finish(job_id, claimed(store).attempt, Outcome(JobState.SUCCEEDED, result=b""))
    assert store.result(job_id) == b""


def test_an_older_attempt_is_fenced(store: JobStore) -> None:
    job_id = store.create(new_job()).id
    old = claimed(store, "first")
    expire_leases(store)
    assert store.reap() == 1
    new = claimed(store, "second")
    assert (old.attempt, new.attempt) == (1, 2)
    assert store.progress(job_id, old.attempt, PROGRESS) is LeaseStatus.LOST
    assert store.heartbeat(worker("first"), [(job_id, old.attempt)]) == {job_id: LeaseStatus.LOST}
    assert store.release(job_id, old.attempt) is False
    assert store.finish(job_id, old.attempt, FAILED) == "fenced"
    assert store.finish(job_id, new.attempt, DONE) == "finished"
    assert store.get(job_id).state is JobState.SUCCEEDED


def test_work_that_was_requeued_but_not_claimed_again_counts(store: JobStore) -> None:
    job_id = store.create(new_job()).id
    claim = claimed(store)
    expire_leases(store)
    store.reap()
    assert store.get(job_id).state is JobState.QUEUED
    assert store.finish(job_id, claim.attempt, DONE) == "finished"
    assert store.queued() == 0
    assert store.claim("w", ["default"]) is None


def test_a_beat_takes_up_a_job_that_nobody_claimed_meanwhile(store: JobStore) -> None:
    job_id = store.create(new_job()).id
    claim = claimed(store)
    expire_leases(store)
    store.reap()
    assert store.heartbeat(worker(), [(job_id, claim.attempt)]) == {job_id: LeaseStatus.HELD}
    assert store.get(job_id).state is JobState.RUNNING
    assert store.claim("other", ["default"]) is None


def test_a_job_that_was_taken_up_again_was_not_lost(store: JobStore) -> None:
    job_id = store.create(new_job()).id
    claim = claimed(store)
    for _ in range(store.settings.max_losses + 1):
        expire_leases(store)
        store.reap()
        assert store.heartbeat(worker(), [(job_id, claim.attempt)]) == {job_id: LeaseStatus.HELD}


def test_a_released_job_is_not_taken_up_again(store: JobStore) -> None:
    job_id = store.create(new_job()).id
    claim = claimed(store)
    assert store.release(job_id, claim.attempt) is True
    assert store.heartbeat(worker(), [(job_id, claim.attempt)]) == {job_id: LeaseStatus.LOST}
    assert store.get(job_id).state is JobState.QUEUED


def test_a_beat_keeps_the_lease(store: JobStore) -> None:
    job_id = store.create(new_job()).id
    claim = claimed(store)
    expire_leases(store)
    store.heartbeat(worker(), [(job_id, claim.attempt)])
    assert store.reap() == 0


def test_an_unknown_job_is_lost(store: JobStore) -> None:
    assert store.heartbeat(worker(), [("job_x", 1)]) == {"job_x": LeaseStatus.LOST}
    assert store.finish("job_x", 1, DONE) == "unknown"
    for call in (store.get, store.cancel, store.delete):
        with pytest.raises(JobNotFound):
            call("job_x")


def test_cancel_of_a_waiting_job_is_at_once(store: JobStore) -> None:
    job_id = store.create(new_job()).id
    assert store.cancel(job_id).state is JobState.CANCELLED
    assert store.cancel(job_id).state is JobState.CANCELLED
    assert store.queued() == 0
    assert store.claim("w", ["default"]) is None


def test_cancel_of_a_running_job_asks(store: JobStore) -> None:
    job_id = store.create(new_job()).id
    claim = claimed(store)
    for _ in range(2):
        assert store.cancel(job_id).state is JobState.CANCELLING
    assert store.progress(job_id, claim.attempt, PROGRESS) is LeaseStatus.CANCEL
    assert store.heartbeat(worker(), [(job_id, claim.attempt)]) == {job_id: LeaseStatus.CANCEL}
    assert store.finish(job_id, claim.attempt, Outcome(JobState.CANCELLED)) == "finished"
    assert store.get(job_id).state is JobState.CANCELLED


def test_cancel_of_an_ended_job_changes_nothing(store: JobStore) -> None:
    job_id = store.create(new_job()).id
    store.finish(job_id, claimed(store).attempt, DONE)
    assert store.cancel(job_id).state is JobState.SUCCEEDED


def test_a_released_job_has_its_old_place(store: JobStore) -> None:
    first = store.create(new_job()).id
    second = store.create(new_job()).id
    claim = claimed(store)
    store.progress(first, claim.attempt, PROGRESS)
    store.release(first, claim.attempt)
    job = store.get(first)
    assert (job.queue_position, job.progress, job.started_at) == (0, None, None)
    assert [claimed(store).id, claimed(store).id] == [first, second]


def test_a_job_asked_to_stop_is_cancelled_when_released_or_lost(store: JobStore) -> None:
    ids = [store.create(new_job()).id for _ in range(2)]
    claims = [claimed(store), claimed(store)]
    for job_id in ids:
        store.cancel(job_id)
    assert store.release(ids[0], claims[0].attempt) is True
    expire_leases(store)
    assert store.reap() == 1
    assert [store.get(job_id).state for job_id in ids] == [JobState.CANCELLED] * 2


def test_a_job_that_loses_its_workers_fails(store: JobStore) -> None:
    job_id = store.create(new_job()).id
    for expected in (JobState.QUEUED, JobState.FAILED):
        claimed(store)
        expire_leases(store)
        assert store.reap() == 1
        assert store.get(job_id).state is expected
    error = store.get(job_id).error
    assert error is not None
    assert (error.code, error.retryable) == ("worker_lost", True)
    assert store.queued() == 0


def test_releases_are_not_losses(store: JobStore) -> None:
    job_id = store.create(new_job()).id
    for _ in range(5):
        store.release(job_id, claimed(store).attempt)
    assert store.get(job_id).state is JobState.QUEUED


def test_reclaim_takes_only_the_predecessors_jobs(store: JobStore) -> None:
    mine, other = store.create(new_job()).id, store.create(new_job()).id
    claim = claimed(store, "me")
    claimed(store, "other")
    assert store.reclaim("me") == [mine]
    assert store.get(mine).state is JobState.QUEUED
    assert store.get(other).state is JobState.RUNNING
    assert store.heartbeat(worker("me"), [(mine, claim.attempt)]) == {mine: LeaseStatus.LOST}


def test_only_ended_jobs_are_deleted(store: JobStore) -> None:
    job_id = store.create(new_job()).id
    with pytest.raises(JobActive):
        store.delete(job_id)
    store.finish(job_id, claimed(store).attempt, DONE)
    store.delete(job_id)
    with pytest.raises(JobNotFound):
        store.get(job_id)
    assert store.result(job_id) is None
    assert store.list(None, 10).data == []


def test_pages_follow_one_another(store: JobStore) -> None:
    ids = [store.create(new_job()).id for _ in range(5)]
    first = store.list(None, 2)
    second = store.list(first.data[-1].id, 2)
    third = store.list(second.data[-1].id, 2)
    assert [job.id for page in (first, second, third) for job in page.data] == ids[::-1]
    assert [page.has_more for page in (first, second, third)] == [True, True, False]
    assert store.list(ids[0], 2).data == []


def test_filters_see_past_what_does_not_match(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explaind_jobs.store.listing.LIST_SCAN", 2)
    wanted = store.create(new_job(method="infer/score", model="x")).id
    for _ in range(4):
        store.create(new_job())
    claimed(store)
    page = store.list(None, 1, Filters(method="infer/score"))
    assert ([job.id for job in page.data], page.has_more) == ([wanted], False)
    assert [job.id for job in store.list(None, 10, Filters(JobState.RUNNING, model="x")).data] == [wanted]
    assert len(store.list(None, 3, Filters(JobState.QUEUED)).data) == 3
    assert store.list(None, 10, Filters(JobState.FAILED)).data == []


def test_a_filter_that_matches_nothing_looks_at_a_bounded_number_of_jobs(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("explaind_jobs.store.listing.LIST_SCAN", 3)
    large = JobStore(store.client, store.settings.model_copy(update={"max_queued": 100}))
    oldest = large.create(new_job(method="infer/score")).id
    for _ in range(40):
        large.create(new_job())
    calls: list[str] = []
    run = JobStore.run
    monkeypatch.setattr(JobStore, "run", lambda self, call: (calls.append(call.script), run(self, call))[1])
    page = large.list(None, 10, Filters(JobState.FAILED))
    assert (page.data, page.has_more, calls) == ([], True, ["list"] * 4)
    found, after, pages = [], None, 0
    while True:
        page = large.list(after, 10, Filters(method="infer/score"))
        found, after, pages = found + page.data, page.next, pages + 1
        if not page.has_more:
            break
    assert ([job.id for job in found], pages, page.next) == ([oldest], 4, None)


def test_every_job_is_on_one_page_whatever_the_bound(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explaind_jobs.store.listing.LIST_SCAN", 2)
    large = JobStore(store.client, store.settings.model_copy(update={"max_queued": 100}))
    ids = [large.create(new_job(method="infer/score" if n % 3 else "explain/shap")).id for n in range(30)]
    for limit in (1, 2, 5, 10):
        found, after = [], None
        while True:
            page = large.list(after, limit, Filters(method="infer/score"))
            assert len(page.data) <= limit
            found, after = found + [job.id for job in page.data], page.next
            if not page.has_more:
                break
        assert found == [job_id for n, job_id in enumerate(ids) if n % 3][::-1]


def test_expired_jobs_leave_the_listing(store: JobStore, valkey: redis.Redis) -> None:
    kept, gone = store.create(new_job()).id, store.create(new_job()).id
    valkey.delete(f"explaind:job:{gone}")
    assert [job.id for job in store.list(None, 10).data] == [kept]
    assert valkey.zcard("explaind:index") == 1


def test_the_reaper_forgets_expired_jobs(store: JobStore, valkey: redis.Redis) -> None:
    job_id = store.create(new_job()).id
    store.cancel(job_id)
    valkey.zadd("explaind:expiring", {f"{job_id}  ": 1})
    valkey.delete(f"explaind:job:{job_id}")
    store.reap()
    assert valkey.zcard("explaind:index") == 0
    assert valkey.zcard("explaind:expiring") == 0


def test_a_job_that_was_evicted_from_the_queue_is_passed_over(store: JobStore, valkey: redis.Redis) -> None:
    gone, kept = store.create(new_job()).id, store.create(new_job()).id
    valkey.delete(f"explaind:job:{gone}")
    assert claimed(store).id == kept


def test_workers_are_those_that_beat(store: JobStore, valkey: redis.Redis) -> None:
    for name in ("b", "a", "gone"):
        store.heartbeat(worker(name), [])
    valkey.zadd("explaind:workers", {"gone": 1})
    found = store.workers()
    assert [state.name for state in found] == ["a", "b"]
    assert found[0].models == ["demo"]
    store.deregister("a")
    assert [state.name for state in store.workers()] == ["b"]


def test_a_silent_redis_is_said_to_be_unavailable(settings: JobsSettings) -> None:
    with redis.Redis(unix_socket_path="/nowhere/redis.sock") as client:
        client.connection_pool.connection_kwargs["retry"] = None
        store = JobStore(client, settings)
        with pytest.raises(StoreUnavailable):
            store.get("job_x")
        assert store.ping() is False


async def test_the_async_store_is_the_same_store(
    async_valkey: redis.asyncio.Redis, store: JobStore, settings: JobsSettings
) -> None:
    asynchronous = AsyncJobStore(async_valkey, settings)
    created = await asynchronous.create(new_job())
    assert await asynchronous.get(created.id) == store.get(created.id)
    assert await asynchronous.queued() == 1
    store.finish(created.id, claimed(store).attempt, DONE)
    assert await asynchronous.result(created.id) == DONE.result
    assert (await asynchronous.list(None, 5)).data == store.list(None, 5).data
    assert (await asynchronous.cancel(created.id)).state is JobState.SUCCEEDED
    store.heartbeat(worker(), [])
    assert [state.name for state in await asynchronous.workers()] == ["w"]
    await asynchronous.delete(created.id)
    with pytest.raises(JobNotFound):
        await asynchronous.get(created.id)
    assert await asynchronous.ping()


def test_a_full_answer_names_where_to_go_on(store: JobStore) -> None:
    ids = [store.create(new_job()).id for _ in range(2)]
    jobs, after = store.run(list_jobs("*", None, 1, Filters()))
    assert ([job.id for job in jobs], after) == ([ids[1]], ids[1])
