"""Known answers, events, what callers may see, and what expires."""

import json
from dataclasses import replace

import pytest
import redis

from explaind.contract.errors import JobNotFound
from explaind.contract.job import JobState, Progress
from explaind_jobs.store.records import Outcome

REVISED = Outcome(JobState.SUCCEEDED, result=b'{"values": [2]}', revision="r1")


def test_a_known_answer_ends_a_job_at_once(shop):
    shop.heartbeat(revisions={"demo": "r1"})
    first, whole = shop.put(cache_key="q"), Progress(phase="evaluating", done=2, total=2, unit="rows")
    shop.end(shop.take(), replace(REVISED, progress=whole))
    created = shop.store.create(shop.job(cache_key="q"))
    assert created.job.cached
    job = shop.store.get(created.id)
    assert (job.state, job.cached, job.attempt, job.progress) == (JobState.SUCCEEDED, True, 0, whole)
    assert shop.store.result(created.id) == shop.store.result(first) == b'{"values": [2]}'
    assert shop.store.claim("w", ["default"]) is None
    assert [name for name, _ in shop.events(created.id)] == ["end"]


@pytest.mark.parametrize("cache_key", [None, "other"])
def test_another_question_is_computed(shop, cache_key):
    shop.heartbeat(revisions={"demo": "r1"})
    shop.put(cache_key="q")
    shop.end(shop.take(), REVISED)
    assert not shop.store.create(shop.job(cache_key=cache_key)).job.cached


def test_another_revision_of_the_model_is_computed(shop):
    shop.heartbeat(revisions={"demo": "r1"})
    shop.put(cache_key="q")
    shop.end(shop.take(), REVISED)
    shop.heartbeat(revisions={"demo": "r2"})
    assert not shop.store.create(shop.job(cache_key="q")).job.cached


def test_after_a_start_an_answer_is_known_once_its_model_was_loaded(shop):
    """Nobody has looked at the model's files meanwhile."""
    shop.heartbeat(revisions={"demo": "r1"})
    shop.put(cache_key="q")
    shop.end(shop.take(), REVISED)
    shop.heartbeat(revisions={"demo": "r1"})
    assert shop.store.create(shop.job(cache_key="q")).job.cached
    shop.heartbeat(instance="2")
    assert not shop.store.create(shop.job(cache_key="q")).job.cached
    shop.heartbeat(revisions={"demo": "r1"}, instance="2")
    assert shop.store.create(shop.job(cache_key="q")).job.cached


def test_a_failure_is_no_answer(shop):
    shop.heartbeat(revisions={"demo": "r1"})
    shop.put(cache_key="q")
    shop.end(shop.take(), Outcome(JobState.CANCELLED, revision="r1"))
    assert not shop.store.create(shop.job(cache_key="q")).job.cached


def test_a_deleted_answer_is_forgotten(shop):
    shop.heartbeat(revisions={"demo": "r1"})
    first = shop.put(cache_key="q")
    shop.end(shop.take(), REVISED)
    shop.store.delete(first)
    assert not shop.store.create(shop.job(cache_key="q")).job.cached


def test_idempotency_keys_are_each_callers_own(shop):
    assert shop.put(key="a", idempotency_key="k") != shop.put(key="b", idempotency_key="k")


def test_every_step_is_an_event(shop):
    job_id = shop.put()
    claimed = shop.take()
    shop.store.progress(job_id, claimed.attempt, Progress(phase="evaluating", done=1, total=2, unit="rows"))
    shop.store.release(job_id, claimed.attempt)
    again = shop.take()
    shop.store.cancel(job_id)
    shop.end(again, Outcome(JobState.CANCELLED))
    heard = [(name, json.loads(data)) for name, data in shop.events(job_id)]
    assert [name for name, _ in heard] == ["state", "state", "progress", "state", "state", "state", "end"]
    states = [data["state"] for name, data in heard if name != "progress"]
    assert states == ["queued", "running", "queued", "running", "cancelling", "cancelled"]
    assert heard[2][1]["done"] == 1
    assert heard[4][1]["attempt"] == 2


@pytest.mark.parametrize("heard_done", [1, 2])
def test_the_last_progress_comes_before_the_end_and_once(shop, heard_done):
    job_id, last = shop.put(), Progress(phase="evaluating", done=2, total=2, unit="rows")
    claimed = shop.take()
    shop.store.progress(job_id, claimed.attempt, last.model_copy(update={"done": heard_done}))
    shop.end(claimed, replace(REVISED, progress=last))
    heard = [(name, json.loads(data)) for name, data in shop.events(job_id)]
    told = [data["done"] for name, data in heard if name == "progress"]
    assert told == [1, 2][heard_done - 1 :]
    assert [name for name, _ in heard[-2:]] == ["progress", "end"]
    assert shop.store.get(job_id).progress == last


def test_events_expire_with_their_job_and_go_with_it(shop, valkey: redis.Redis):
    job_id = shop.put(keep_s=100)
    assert valkey.ttl(f"explaind:events:{job_id}") == -1
    shop.end(shop.take())
    (result,) = valkey.keys("explaind:result:*")
    assert all(0 < valkey.ttl(key) <= 100 for key in (f"explaind:job:{job_id}", result))
    assert 0 < valkey.ttl(f"explaind:events:{job_id}") <= 60
    shop.store.delete(job_id)
    assert not valkey.exists(f"explaind:events:{job_id}")


def test_nobody_keeps_a_job_longer_than_the_service_allows(shop, valkey: redis.Redis):
    job_id = shop.put(keep_s=10**8)
    shop.end(shop.take())
    assert valkey.ttl(f"explaind:job:{job_id}") <= shop.store.settings.max_job_ttl_s


def test_a_job_that_no_worker_takes_expires(shop):
    job_id, young = shop.put(), shop.put()
    shop.age(job_id, shop.store.settings.queue_ttl_s + 1)
    shop.store.reap()
    job = shop.store.get(job_id)
    assert (job.state, job.error.code) == (JobState.EXPIRED, "queue_expired")
    assert shop.store.get(young).state is JobState.QUEUED
    assert shop.take().id == young


def test_others_jobs_are_not_there(shop):
    job_id = shop.put(key="a")
    assert shop.store.get(job_id, "a").id == shop.store.get(job_id).id == job_id
    for ask in (shop.store.get, shop.store.cancel, shop.store.delete):
        for caller in ("b", ""):
            with pytest.raises(JobNotFound):
                ask(job_id, caller)
    assert shop.store.get(job_id).state is JobState.QUEUED


def test_each_caller_lists_its_own(shop):
    mine, other = shop.put(key="a"), shop.put(key="b")
    listed = {caller: [job.id for job in shop.store.list(None, 10, caller=caller).data] for caller in ("a", "b", "*")}
    assert listed == {"a": [mine], "b": [other], "*": [other, mine]}
    shop.store.cancel(mine)
    shop.store.delete(mine)
    assert shop.store.client.zcard("explaind:index:a") == 0


def test_a_claim_carries_what_the_worker_must_know(shop):
    shop.put(timeout_s=2.5, request_id="req_1", trace="00-1-2-01", key="a")
    claimed = shop.take()
    assert (claimed.timeout_s, claimed.request_id, claimed.trace, claimed.key) == (2.5, "req_1", "00-1-2-01", "a")


def test_a_webhook_goes_to_the_outbox_for_the_events_it_wants(shop, valkey: redis.Redis):
    wanted = shop.put(webhook='{"url": "https://example.org", "events": ["succeeded"]}')
    shop.end(shop.take())
    shop.put(webhook='{"url": "https://example.org", "events": ["failed"]}')
    shop.end(shop.take())
    assert valkey.zrange("explaind:outbox", 0, -1) == [wanted.encode()]


async def test_the_census_counts(shop, async_valkey):
    from explaind_jobs.store.job_store import AsyncJobStore

    shop.put(model="x")
    shop.put(model="y")
    shop.end(shop.take())
    shop.put(model="y")
    shop.take()
    shop.lose_all()
    stats = await AsyncJobStore(async_valkey, shop.store.settings).stats()
    assert sum(stats.depths.values()) == 2
    assert stats.ages["default"] >= 0
    assert stats.running == 0
    assert stats.counters["submitted", "explain/shap", "y"] == 2
    assert stats.counters["finished", "explain/shap", "x", "succeeded"] == 1
    assert stats.counters["lost", "explain/shap"] == 1
    assert sum(n for name, n in stats.counters.items() if name[0] == "job_seconds_bucket") == 1


async def test_the_time_of_work_that_was_requeued_counts(shop, async_valkey):
    from explaind_jobs.store.job_store import AsyncJobStore

    shop.put(key="a")
    claimed = shop.take()
    await async_valkey.hincrby(f"explaind:job:{claimed.id}", "started", -5000)
    shop.lose_all()
    shop.end(claimed)
    stats = await AsyncJobStore(async_valkey, shop.store.settings).stats()
    assert stats.counters["job_seconds_sum", "explain/shap"] >= 5
    assert float(await async_valkey.hget("explaind:turns", "a")) >= 5


async def test_following_begins_where_the_view_stands(shop, async_valkey):
    from explaind_jobs.store.job_store import AsyncJobStore

    job_id = shop.put()
    store = AsyncJobStore(async_valkey, shop.store.settings)
    job, last = await store.follow(job_id)
    assert job.state is JobState.QUEUED
    shop.take()
    later = await async_valkey.xrange(f"explaind:events:{job_id}", f"({last}")
    assert [json.loads(fields[b"data"])["state"] for _, fields in later] == ["running"]
    with pytest.raises(JobNotFound):
        await store.follow(job_id, "somebody")
