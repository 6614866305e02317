"""Any order of transitions, on a real server: nothing is lost, nothing ends twice, and the store is of one mind."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from explaind.contract.errors import IdempotencyKeyReused, JobActive, JobNotFound, QueueFull
from explaind.contract.job import JobState, Progress
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import JobStore
from explaind_jobs.store.records import Claim, LeaseStatus, NewJob, Outcome, WorkerState
from tests.support.store_invariants import inconsistencies

KEYS, MODELS, QUEUES, WORKERS = ("", "a", "b"), ("x", "y"), ("cpu", "gpu"), ("w1", "w2")
MAX_QUEUED, MAX_LOSSES = 12, 3
NOW = datetime.now(UTC)
PROGRESS = Progress(phase="p", done=1, total=2, unit="u")
ENDINGS = (
    Outcome(JobState.SUCCEEDED, result=b"[1]", revision="r"),
    Outcome(JobState.CANCELLED),
    Outcome(JobState.FAILED, error=JobNotFound("x").problem()),
)


@dataclass
class Known:
    """What the test knows of a job."""

    key: str
    ended: JobState | None = None
    finishes: int = 0
    attempts: list[Claim] = field(default_factory=list)


class Life(RuleBasedStateMachine):
    """Jobs of three callers, two workers, and whatever may happen."""

    client: ClassVar[redis.Redis]
    url: ClassVar[str]

    @initialize()
    def begin(self) -> None:
        self.client.flushall()
        limits = {"max_queued": MAX_QUEUED, "max_losses": MAX_LOSSES, "suspect_patience_s": 0}
        self.store = JobStore(self.client, JobsSettings(redis_url=self.url, **limits))
        self.known: dict[str, Known] = {}
        self.deleted: set[str] = set()
        self.holders: dict[str, list[Claim]] = {name: [] for name in WORKERS}

    @rule(
        key=st.sampled_from(KEYS),
        model=st.sampled_from(MODELS),
        queue=st.sampled_from(QUEUES),
        priority=st.sampled_from(["low", "normal", "high"]),
        idempotency_key=st.sampled_from([None, "i", "j"]),
        cache_key=st.sampled_from([None, "c"]),
    )
    def create(self, **fields: Any) -> None:
        waiting = self.store.queued()
        try:
            created = self.store.create(NewJob("explain/shap", request=b"{}", **fields))
        except QueueFull:
            assert waiting >= MAX_QUEUED
        except IdempotencyKeyReused:
            assert fields["idempotency_key"]
        else:
            assert created.existing == (created.id in self.known)
            known = self.known.setdefault(created.id, Known(fields["key"]))
            if created.job.cached and not created.existing:
                known.ended, known.finishes = JobState.SUCCEEDED, 1

    @rule(
        worker=st.sampled_from(WORKERS),
        resident=st.sets(st.sampled_from(MODELS)),
        queues=st.sets(st.sampled_from(QUEUES), min_size=1),
    )
    def claim(self, worker: str, resident: set[str], queues: set[str]) -> None:
        held = len(self.holders[worker])
        claim = self.store.claim(worker, sorted(queues), sorted(resident), held)
        if claim is None:
            assert held or not any(count for queue, count in self.store.waiting().items() if queue in queues)
            return
        assert not (claim.suspect and held), "a suspect runs alone"
        assert claim.attempt == len(self.known[claim.id].attempts) + 1
        self.known[claim.id].attempts.append(claim)
        self.holders[worker].append(claim)

    @precondition(lambda self: any(self.holders.values()))
    @rule(data=st.data(), outcome=st.sampled_from(ENDINGS), keep=st.booleans())
    def finish(self, data: st.DataObject, outcome: Outcome, keep: bool) -> None:
        worker, claim = self._held(data)
        before = self._state(claim.id)
        word = self.store.finish(claim.id, claim.attempt, outcome)
        newest = self.known[claim.id].attempts[-1].attempt == claim.attempt
        if before is None:
            assert word == "unknown"
        elif before.terminal:
            assert word == "already"
        else:
            assert word == ("finished" if newest else "fenced")
        if word == "finished":
            self.known[claim.id].ended = outcome.state
            self.known[claim.id].finishes += 1
        if not keep:
            self.holders[worker].remove(claim)

    @precondition(lambda self: any(self.holders.values()))
    @rule(data=st.data(), lost=st.booleans())
    def release(self, data: st.DataObject, lost: bool) -> None:
        worker, claim = self._held(data)
        self.store.release(claim.id, claim.attempt, lost=lost)
        self.holders[worker].remove(claim)

    @precondition(lambda self: any(self.holders.values()))
    @rule(data=st.data())
    def progress(self, data: st.DataObject) -> None:
        _, claim = self._held(data)
        before, newest = self._state(claim.id), self.known[claim.id].attempts[-1].attempt == claim.attempt
        standing = self.store.progress(claim.id, claim.attempt, PROGRESS)
        if before is None or before.terminal or not newest:
            assert standing is LeaseStatus.LOST
        if standing is not LeaseStatus.LOST:
            assert self._state(claim.id) in {JobState.RUNNING, JobState.CANCELLING}

    @rule(worker=st.sampled_from(WORKERS))
    def heartbeat(self, worker: str) -> None:
        state = WorkerState(worker, "1", list(QUEUES), [], [], 2, NOW, {"x": "r"})
        pairs = [(claim.id, claim.attempt) for claim in self.holders[worker]]
        standings = self.store.heartbeat(state, pairs)
        assert standings.keys() == {job_id for job_id, _ in pairs}

    @rule(worker=st.sampled_from(WORKERS), restarted=st.booleans())
    def worker_dies(self, worker: str, restarted: bool) -> None:
        self.holders[worker].clear()
        if restarted:
            self.store.reclaim(worker)

    @rule()
    def leases_run_out(self) -> None:
        key = "explaind:leases"
        held: Any = self.client.zrange(key, 0, -1)
        if held:
            self.client.zadd(key, dict.fromkeys(held, 1), xx=True)
        self.store.reap()

    @precondition(lambda self: self.known)
    @rule(data=st.data(), caller=st.sampled_from([*KEYS, "*"]))
    def cancel(self, data: st.DataObject, caller: str) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.known)))
        try:
            job = self.store.cancel(job_id, caller)
        except JobNotFound:
            assert job_id in self.deleted or caller not in {"*", self.known[job_id].key}
        else:
            assert job.state.terminal or job.state is JobState.CANCELLING

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.known)))
        before = self._state(job_id)
        try:
            self.store.delete(job_id)
        except JobNotFound:
            assert job_id in self.deleted
        except JobActive:
            assert before is not None
            assert not before.terminal
        else:
            self.deleted.add(job_id)

    @invariant()
    def of_one_mind(self) -> None:
        if hasattr(self, "store"):
            assert inconsistencies(self.client) == []

    @invariant()
    def nothing_is_lost_and_nothing_ends_twice(self) -> None:
        for job_id, known in getattr(self, "known", {}).items():
            assert known.finishes <= 1
            state = self._state(job_id)
            if job_id in self.deleted:
                assert state is None
                continue
            assert state is not None, f"{job_id} is gone"
            if known.ended is None and state.terminal:
                known.ended = state  # cancelled while it waited, or lost too often
            assert known.ended in {None, state}, "an end is an end"

    def _held(self, data: st.DataObject) -> tuple[str, Claim]:
        held = [(worker, claim) for worker, claims in sorted(self.holders.items()) for claim in claims]
        return data.draw(st.sampled_from(held))

    def _state(self, job_id: str) -> JobState | None:
        try:
            return self.store.get(job_id).state
        except JobNotFound:
            return None


def test_any_order_of_transitions(valkey: redis.Redis, redis_url: str) -> None:
    Life.client, Life.url = valkey, redis_url
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],  # shrinking would take minutes; the steps are printed
            suppress_health_check=list(HealthCheck),
        ),
    )
