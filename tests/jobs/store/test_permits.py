"""Permits reach Celery's list, whatever the URL looks like, and never hold anybody up."""

import pytest
import redis

from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.permits import PermitPublisher, broker_url, make_celery, permits_key, queue_key


@pytest.mark.parametrize(
    ("redis_url", "expected"),
    [
        ("redis://:secret@there:7000/3", "redis://:secret@there:7000/3"),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock?virtual_host=0"),
        ("unix:///run/redis.sock?db=4", "redis+socket:///run/redis.sock?virtual_host=4"),
        ("unix://:p%40ss@/run/redis.sock?db=1", "redis+socket://:p%40ss@/run/redis.sock?virtual_host=1"),
        ("unix:///run/redis.sock?password=p@ss", "redis+socket://:p%40ss@/run/redis.sock?virtual_host=0"),
    ],
)
def test_the_url_as_celery_wants_it(redis_url: str, expected: str) -> None:
    assert broker_url(redis_url) == expected


@pytest.mark.parametrize(
    ("redis_url", "expected"),
    [
        ("redis://there:7000/3", "redis://:p%40s%2Fs@there:7000/3"),
        ("rediss://box@there?db=1", "rediss://box:p%40s%2Fs@there?db=1"),
        ("redis://[::1]:7000", "redis://:p%40s%2Fs@[::1]:7000"),
        ("unix:///run/redis.sock?db=4", "redis+socket://:p%40s%2Fs@/run/redis.sock?virtual_host=4"),
    ],
)
def test_a_password_of_its_own_joins_the_url(redis_url: str, expected: str) -> None:
    assert broker_url(redis_url, "p@s/s") == expected


def test_celery_needs_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXPLAIND_REDIS_URL", raising=False)
    with pytest.raises(ValueError, match="redis_url"):
        make_celery(JobsSettings())


def test_permits_lie_where_the_reconciler_counts_them(valkey: redis.Redis, redis_url: str) -> None:
    settings = JobsSettings(redis_url=redis_url)
    publisher = PermitPublisher(settings)
    publisher.start()
    for _ in range(3):
        publisher.wake("gpu")
    publisher.stop()
    assert queue_key("gpu") == "explaind.gpu"
    assert valkey.llen(permits_key(settings, "gpu")) == 3


def test_no_more_permits_are_sent_than_slots_can_use(
    valkey: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("explaind_jobs.store.permits.ENOUGH", 3)
    monkeypatch.setattr("explaind_jobs.store.permits.FEW", 0)
    settings = JobsSettings(redis_url=redis_url)
    publisher = PermitPublisher(settings)
    publisher.start()
    for _ in range(10):
        publisher.wake("gpu")
    publisher.wake("cpu")
    publisher.stop()
    assert valkey.llen(permits_key(settings, "gpu")) == 3
    assert valkey.llen(permits_key(settings, "cpu")) == 1


def test_a_dead_broker_holds_nobody_up() -> None:
    publisher = PermitPublisher(JobsSettings(redis_url="unix:///nowhere/redis.sock"))
    publisher.wake("default")
    publisher.start()
    publisher.wake("default")
    publisher.stop()
    publisher.wake("default")
