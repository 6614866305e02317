"""The check of the whole store finds what is planted, and finds nothing in a store that is well."""

from collections.abc import Callable

import pytest
import redis

from explaind.contract.job import JobState
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import JobStore
from explaind_jobs.store.records import NewJob, Outcome
from tests.support.store_invariants import inconsistencies, job_records, places_in_use

NEW = NewJob("explain/shap", "demo", "default", b"{}", key="k")


@pytest.fixture
def jobs(valkey: redis.Redis, redis_url: str) -> dict[str, str]:
    """A job in each of its states, by what it is."""
    store = JobStore(valkey, JobsSettings(redis_url=redis_url))
    ids = {}

    def begun(what: str) -> int:
        ids[what] = store.create(NEW).id
        claim = store.claim("w", ["default"])
        assert claim is not None
        assert claim.id == ids[what]
        return claim.attempt

    attempt = begun("ended")
    store.finish(ids["ended"], attempt, Outcome(JobState.SUCCEEDED, b"1"))
    begun("running")
    begun("cancelling")
    store.cancel(ids["cancelling"])
    attempt = begun("suspect")
    store.release(ids["suspect"], attempt, lost=True)
    ids["queued"] = store.create(NEW).id
    return ids


def test_a_store_with_all_kinds_of_jobs_is_well(valkey: redis.Redis, jobs: dict[str, str]) -> None:
    assert inconsistencies(valkey) == []
    assert set(job_records(valkey)) == set(jobs.values())
    assert places_in_use(valkey) == [
        "keys:default",
        "lane:default:k:demo",
        "lanes:default:k",
        "leases",
        "line:default:k",
        "queue:default",
        "running:k",
        "suspects:default",
    ]


# One of each kind: a set, a lease, the events, a key of its own.
HARM: dict[str, Callable[[redis.Redis, dict[str, str]], object]] = {
    "an ended job still waits": lambda r, jobs: r.zadd("explaind:queue:default", {jobs["ended"]: 1}),
    "a running job has no lease": lambda r, jobs: r.zrem("explaind:leases", jobs["running"]),
    "two ends": lambda r, jobs: r.xadd(
        f"explaind:events:{jobs['ended']}", {"event": "end", "data": '{"state": "succeeded"}'}
    ),
    "a result of nobody": lambda r, jobs: r.set("explaind:result:0123", b"1"),
    "a job too few has a result": lambda r, jobs: r.delete("explaind:results"),
    "bytes of no waiting job": lambda r, jobs: r.hincrby("explaind:waiting_bytes", "*", 1),
}


@pytest.mark.parametrize("what", HARM)
def test_harm_is_found(valkey: redis.Redis, jobs: dict[str, str], what: str) -> None:
    HARM[what](valkey, jobs)
    assert inconsistencies(valkey) != []
