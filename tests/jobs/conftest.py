"""A store on a real server, and the words its tests share."""

from datetime import UTC, datetime
from typing import Any

import pytest
import redis

from explaind.contract.job import JobState, Timing
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import JobStore
from explaind_jobs.store.records import Claim, NewJob, Outcome, WorkerState

DONE = Outcome(JobState.SUCCEEDED, result=b'{"values": [1]}', timing=Timing.model_validate({"seconds": 1.5}))


class Shop:
    """A store with the few things that its tests do again and again."""

    def __init__(self, store: JobStore) -> None:
        self.store = store

    def put(self, **fields: Any) -> str:
        """Accept a job; returns its id."""
        return self.store.create(self.job(**fields)).id

    @staticmethod
    def job(**fields: Any) -> NewJob:
        """A job to be accepted."""
        return NewJob(**{"method": "explain/shap", "model": "demo", "queue": "default", "request": b"{}", **fields})

    def take(self, worker: str = "w", models: tuple[str, ...] = (), held: int = 0) -> Claim:
        """Claim a job that must be there."""
        claim = self.store.claim(worker, ["default"], models, held)
        assert claim is not None
        return claim

    def end(self, claim: Claim, outcome: Outcome = DONE) -> None:
        """Finish it."""
        assert self.store.finish(claim.id, claim.attempt, outcome) == "finished"

    def lose_all(self) -> None:
        """Let every lease run out, and reap."""
        key = f"{self.store.settings.key_prefix}leases"
        held: Any = self.store.client.zrange(key, 0, -1)
        self.store.client.zadd(key, dict.fromkeys(held, 1))
        self.store.reap()

    def heartbeat(self, name: str = "w", revisions: dict[str, str] | None = None, instance: str = "1") -> None:
        """A worker's heartbeat; of another instance, one that has been started anew."""
        state = WorkerState(name, instance, ["default"], ["demo"], [], 2, datetime.now(UTC), revisions or {})
        self.store.heartbeat(state, [])

    def events(self, job_id: str) -> list[tuple[str, str]]:
        """What those who follow the job have heard: (event, data)."""
        stream: Any = self.store.client.xrange(f"{self.store.settings.key_prefix}events:{job_id}")
        return [(fields[b"event"].decode(), fields[b"data"].decode()) for _, fields in stream]

    def age(self, job_id: str, seconds: float) -> None:
        """Make a waiting job that much older."""
        prefix, client = self.store.settings.key_prefix, self.store.client
        record: Any = client.hgetall(f"{prefix}job:{job_id}")
        queue, key, model = (record[name].decode() for name in (b"queue", b"key", b"model"))
        for place in (f"queue:{queue}", f"line:{queue}:{key}", f"lane:{queue}:{key}:{model}"):
            client.zincrby(f"{prefix}{place}", -seconds * 1e6, job_id)


@pytest.fixture
def shop(valkey: redis.Redis, redis_url: str) -> Shop:
    """A store with room for many jobs, whose jobs may be lost twice."""
    return Shop(JobStore(valkey, JobsSettings(redis_url=redis_url, max_losses=3)))
