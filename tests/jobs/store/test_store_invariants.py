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


HARM: dict[str, Callable[[redis.Redis, dict[str, str]], object]] = {
    "an ended job still waits": lambda r, jobs: r.zadd("explaind:queue:default", {jobs["ended"]: 1}),
    "an ended job still runs": lambda r, jobs: r.sadd("explaind:running:k", jobs["ended"]),
    "a running job has no lease": lambda r, jobs: r.zrem("explaind:leases", jobs["running"]),
    "a cancelling job is not counted": lambda r, jobs: r.srem("explaind:running:k", jobs["cancelling"]),
    "a waiting job is in no lane": lambda r, jobs: r.delete("explaind:lane:default:k:demo"),
    "a waiting job has a place of its own": lambda r, jobs: r.zadd("explaind:queue:default", {jobs["queued"]: 1}),
    "a lane nobody looks at": lambda r, jobs: r.delete("explaind:lanes:default:k"),
    "a key nobody looks at": lambda r, jobs: r.delete("explaind:keys:default"),
    "a suspect among the others": lambda r, jobs: r.zadd("explaind:lane:default:k:demo", {jobs["suspect"]: 1}),
    "a suspect forgotten": lambda r, jobs: r.delete("explaind:suspects:default"),
    "a job without a record": lambda r, jobs: r.delete(f"explaind:job:{jobs['queued']}"),
    "two ends": lambda r, jobs: r.xadd(
        f"explaind:events:{jobs['ended']}", {"event": "end", "data": '{"state": "succeeded"}'}
    ),
    "another end than the state": lambda r, jobs: r.hset(f"explaind:job:{jobs['ended']}", "state", "failed"),
    "an end too early": lambda r, jobs: r.xadd(
        f"explaind:events:{jobs['running']}", {"event": "end", "data": '{"state": "succeeded"}'}
    ),
    "an ended job that stays": lambda r, jobs: r.persist(f"explaind:job:{jobs['ended']}"),
    "a waiting job that expires": lambda r, jobs: r.expire(f"explaind:job:{jobs['queued']}", 100),
    "a state unknown": lambda r, jobs: r.hset(f"explaind:job:{jobs['ended']}", "state", "lost"),
    "losses below none": lambda r, jobs: r.hset(f"explaind:job:{jobs['running']}", "losses", -1),
    "a result of nobody": lambda r, jobs: r.set("explaind:result:job_nobody", b"1"),
    "a turn that is no number": lambda r, jobs: r.hset("explaind:turns", "k", "nan"),
}


@pytest.mark.parametrize("what", HARM)
def test_harm_is_found(valkey: redis.Redis, jobs: dict[str, str], what: str) -> None:
    HARM[what](valkey, jobs)
    assert inconsistencies(valkey) != []
