"""The outbox on a real server: what is due is taken once, by one, and noted by whoever holds it."""

import json
import time

import pytest
import redis

from explaind.contract.job import WebhookStatus
from explaind.contract.webhook import Webhook
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store import webhook_outbox
from explaind_jobs.store.job_store import JobStore
from explaind_jobs.store.records import NewJob

WEBHOOK = Webhook(url="https://example.com/hooks", events=["cancelled"])
PENDING = WebhookStatus(state="pending", attempts=1, last_status=503)
DELIVERED = WebhookStatus(state="delivered", attempts=1, last_status=200)


@pytest.fixture
def store(valkey: redis.Redis, redis_url: str) -> JobStore:
    return JobStore(valkey, JobsSettings(redis_url=redis_url))


def record(store: JobStore, job_id: str) -> str:
    return f"{store.settings.key_prefix}job:{job_id}"


def outbox_key(store: JobStore) -> str:
    return f"{store.settings.key_prefix}outbox"


def ended(store: JobStore, *, key: str = "k1") -> str:
    """A job that has ended, and whose end is to be told."""
    job_id = store.create(NewJob(method="explain/shap", model="demo", queue="default", request=b"{}")).id
    store.client.hset(record(store, job_id), mapping={"webhook": WEBHOOK.model_dump_json(), "key": key})
    store.cancel(job_id)
    store.client.zadd(outbox_key(store), {job_id: round(time.time() * 1000) - 1})
    return job_id


def status_of(store: JobStore, job_id: str) -> dict[str, object] | None:
    raw = store.client.hget(record(store, job_id), "webhook_status")
    return None if raw is None else json.loads(raw)  # type: ignore[arg-type]


def waiting(store: JobStore) -> int:
    return store.client.zcard(outbox_key(store))  # type: ignore[return-value]


def end_leases(store: JobStore, job_id: str) -> None:
    store.client.zadd(outbox_key(store), {job_id: 1})


def test_what_is_due_is_taken_by_one(store: JobStore) -> None:
    job_id = ended(store)
    [message] = store.run(webhook_outbox.take(10, 60))
    assert (message.id, message.attempt, message.key_id) == (job_id, 1, "k1")
    assert message.webhook() == WEBHOOK
    assert (message.job().id, message.job().state) == (job_id, "cancelled")
    assert store.run(webhook_outbox.take(10, 60)) == []


def test_what_is_not_due_stays(store: JobStore) -> None:
    job_id = ended(store)
    store.client.zadd(outbox_key(store), {job_id: round(time.time() * 1000) + 60_000})
    assert store.run(webhook_outbox.take(10, 60)) == []
    assert waiting(store) == 1


def test_the_oldest_first_and_no_more_than_there_is_room_for(store: JobStore) -> None:
    first, second, third = (ended(store) for _ in range(3))
    for score, job_id in enumerate([second, third, first], start=1):
        store.client.zadd(outbox_key(store), {job_id: score})
    assert store.run(webhook_outbox.take(0, 60)) == []
    assert [message.id for message in store.run(webhook_outbox.take(2, 60))] == [second, third]
    assert [message.id for message in store.run(webhook_outbox.take(2, 60))] == [first]


def test_a_lease_that_ran_out_is_another_attempt(store: JobStore) -> None:
    ended(store)
    [first] = store.run(webhook_outbox.take(10, 0.001))
    time.sleep(0.005)
    [second] = store.run(webhook_outbox.take(10, 60))
    assert (first.attempt, second.attempt) == (1, 2)


def test_again_is_due_after_the_delay(store: JobStore) -> None:
    job_id = ended(store)
    [message] = store.run(webhook_outbox.take(10, 60))
    assert store.run(webhook_outbox.again(job_id, message.attempt, PENDING, 30)) == "noted"
    due: float = store.client.zscore(outbox_key(store), job_id)  # type: ignore[assignment]
    assert 25 < due / 1000 - time.time() < 31
    assert status_of(store, job_id) == {"state": "pending", "attempts": 1, "last_status": 503, "last_at": None}


def test_settled_is_out_and_stays_out(store: JobStore) -> None:
    job_id = ended(store)
    store.run(webhook_outbox.take(10, 60))
    assert store.run(webhook_outbox.settle(job_id, 1, DELIVERED)) == "noted"
    assert waiting(store) == 0
    assert store.run(webhook_outbox.again(job_id, 1, PENDING, 0)) == "stale"
    assert store.run(webhook_outbox.settle(job_id, 1, PENDING)) == "stale"
    assert (status_of(store, job_id) or {})["state"] == "delivered"


def test_settled_without_a_status_leaves_no_trace(store: JobStore) -> None:
    job_id = ended(store)
    store.run(webhook_outbox.take(10, 60))
    assert store.run(webhook_outbox.settle(job_id, 1, None)) == "noted"
    assert (waiting(store), status_of(store, job_id)) == (0, None)


def test_a_late_failure_leaves_the_newer_attempt_alone(store: JobStore) -> None:
    job_id = ended(store)
    store.run(webhook_outbox.take(10, 60))
    end_leases(store, job_id)
    store.run(webhook_outbox.take(10, 60))
    before = store.client.zscore(outbox_key(store), job_id)
    assert store.run(webhook_outbox.again(job_id, 1, PENDING, 0)) == "stale"
    assert store.client.zscore(outbox_key(store), job_id) == before
    assert status_of(store, job_id) is None


def test_a_late_delivery_counts(store: JobStore) -> None:
    job_id = ended(store)
    store.run(webhook_outbox.take(10, 60))
    end_leases(store, job_id)
    store.run(webhook_outbox.take(10, 60))
    assert store.run(webhook_outbox.settle(job_id, 1, DELIVERED)) == "noted"
    assert store.run(webhook_outbox.again(job_id, 2, PENDING, 0)) == "stale"
    assert (status_of(store, job_id) or {})["state"] == "delivered"


def test_a_deleted_job_is_dropped_and_not_written_again(store: JobStore) -> None:
    one, other = ended(store), ended(store)
    store.delete(one)
    [message] = store.run(webhook_outbox.take(10, 60))
    assert (message.id, waiting(store)) == (other, 1)
    store.delete(other)
    assert store.run(webhook_outbox.again(other, 1, PENDING, 0)) == "gone"
    assert waiting(store) == 0
    assert store.client.exists(record(store, one), record(store, other)) == 0


def test_jobs_that_have_not_ended_or_want_no_word_are_dropped(store: JobStore) -> None:
    waits = store.create(NewJob(method="explain/shap", model="demo", queue="default", request=b"{}")).id
    store.client.hset(record(store, waits), "webhook", WEBHOOK.model_dump_json())
    silent = ended(store)
    store.client.hdel(record(store, silent), "webhook")
    for job_id in (waits, silent):
        store.client.zadd(outbox_key(store), {job_id: 1})
    assert store.run(webhook_outbox.take(10, 60)) == []
    assert waiting(store) == 0


def test_the_record_still_expires(store: JobStore) -> None:
    job_id = ended(store)
    store.run(webhook_outbox.take(10, 60))
    store.run(webhook_outbox.settle(job_id, 1, DELIVERED))
    assert 0 < store.client.ttl(record(store, job_id)) <= store.settings.job_ttl_s  # type: ignore[operator]


def test_an_anonymous_job_has_no_key(store: JobStore) -> None:
    job_id = ended(store)
    store.client.hdel(record(store, job_id), "key")
    assert store.run(webhook_outbox.take(10, 60))[0].key_id == ""


def test_one_record_gone_wrong_holds_up_no_other(store: JobStore) -> None:
    wrong, right = ended(store), ended(store)
    store.client.hset(record(store, wrong), "webhook", "{")
    store.client.zadd(outbox_key(store), {wrong: 1})
    messages = {message.id: message for message in store.run(webhook_outbox.take(10, 60))}
    assert messages[right].webhook() == WEBHOOK
    with pytest.raises(ValueError, match="Invalid JSON"):
        messages[wrong].webhook()
