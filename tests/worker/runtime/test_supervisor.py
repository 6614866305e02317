"""The keeper's rounds, each on a real store, with a clock that is moved by hand."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
import redis

from explaind.contract.job import JobState
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import JobStore
from explaind_jobs.store.permits import PermitPublisher, permits_key
from explaind_jobs.store.records import Claim, NewJob, WorkerState
from explaind_worker.runtime.job_control import HeldJobs, JobControl
from explaind_worker.runtime.supervisor import EXIT_DRAINED, EXIT_HUNG, Supervisor
from explaind_worker.stops import Cancelled, LeaseLost, Released
from tests.support.redis_refusals import refusing


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """A worker's keeper and what it keeps, without its processes."""

    def __init__(self, client: redis.Redis, redis_url: str) -> None:
        self.settings = JobsSettings(redis_url=redis_url, deadline_s=60, lease_s=30)
        self.store = JobStore(client, self.settings)
        self.clock = Clock()
        self.held = HeldJobs()
        self.models: list[str] = []
        self.exits: list[int] = []
        self.permits = PermitPublisher(self.settings)
        self.permits.start()
        self.keeper = Supervisor(
            self.store,
            self.held,
            self.state,
            self.permits,
            leave_process=self.exits.append,
            clock=self.clock,
        )

    def state(self) -> WorkerState:
        return WorkerState("w", "1", ["default"], list(self.models), [], 2, datetime.now(UTC))

    def take(self) -> JobControl:
        self.store.create(NewJob("explain/shap", "demo", "default", b"{}"))
        claim = self.store.claim("w", ["default"])
        assert isinstance(claim, Claim)
        control = JobControl(claim, self.store, deadline_s=60, clock=self.clock)
        self.held.add(control)
        return control


@pytest.fixture
def desk(valkey: redis.Redis, redis_url: str) -> Iterator[Desk]:
    desk = Desk(valkey, redis_url)
    yield desk
    desk.permits.stop()


def test_it_beats_at_every_heartbeat_and_when_a_model_came(desk: Desk, valkey: redis.Redis) -> None:
    def beats() -> bool:
        valkey.delete("explaind:worker:w")
        desk.keeper.beat_if_due()
        return bool(valkey.exists("explaind:worker:w"))

    assert beats()
    assert not beats()
    desk.models.append("demo")
    assert beats()
    assert not beats()
    desk.clock.now += 10
    assert beats()


def test_a_beat_brings_cancels_and_losses(desk: Desk) -> None:
    first, second = desk.take(), desk.take()
    desk.store.cancel(first.claim.id)
    desk.store.release(second.claim.id, second.claim.attempt)
    desk.keeper.tick()
    with pytest.raises(Cancelled):
        first.check()
    with pytest.raises(LeaseLost):
        second.check()


def test_lost_permits_are_rung_again_but_not_twice(desk: Desk, valkey: redis.Redis) -> None:
    for _ in range(3):
        desk.store.create(NewJob("explain/shap", "demo", "default", b"{}"))
    desk.permits.wake("default")
    desk.permits.stop()
    again = PermitPublisher(desk.settings)
    again.start()
    keeper = Supervisor(desk.store, desk.held, desk.state, again, clock=desk.clock)
    keeper.ring_missing()
    again.stop()
    keeper.ring_missing()
    assert valkey.llen(permits_key(desk.settings, "default")) == 3


def test_only_one_worker_reaps_a_second(desk: Desk, valkey: redis.Redis) -> None:
    valkey.set("explaind:chores", "another")
    desk.store.create(NewJob("explain/shap", "demo", "default", b"{}"))
    desk.keeper.tick()
    desk.permits.stop()
    assert valkey.llen(permits_key(desk.settings, "default")) == 0


def test_nothing_is_reaped_right_after_redis_came_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    control = desk.take()
    desk.store.client.zadd("explaind:leases", {control.claim.id: 1})
    desk.held.remove(control)
    monkeypatch.setattr(desk.store.client, "info", lambda section: {"uptime_in_seconds": 44})
    desk.keeper.tick()
    assert desk.store.get(control.claim.id).state is JobState.RUNNING
    monkeypatch.setattr(desk.store.client, "info", lambda section: {"uptime_in_seconds": 46})
    desk.store.client.delete("explaind:chores")
    desk.clock.now += 1
    desk.keeper.tick()
    assert desk.store.get(control.claim.id).state is JobState.QUEUED


def test_nothing_is_reaped_until_the_living_could_beat_again(
    desk: Desk, valkey: redis.Redis, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nothing could be written every lease ran out, those of the living too."""
    control = desk.take()
    desk.held.remove(control)  # as if another worker held it
    caplog.set_level("INFO")
    with refusing(valkey, "NOREPLICAS"):
        for _ in range(3):
            desk.clock.now += 1
            desk.keeper.tick()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "NOREPLICAS" in caplog.text
    valkey.zadd("explaind:leases", {control.claim.id: 1})
    monkeypatch.setattr(desk.store.client, "info", lambda section: {"uptime_in_seconds": 1e6})

    def round() -> JobState:
        valkey.delete("explaind:chores")
        desk.clock.now += 1
        desk.keeper.tick()
        return desk.store.get(control.claim.id).state

    assert round() is JobState.RUNNING
    assert "the job store is back" in caplog.text
    desk.clock.now += desk.settings.heartbeat_s
    assert round() is JobState.QUEUED


def test_a_hung_job_costs_the_process_but_not_the_other_jobs(desk: Desk) -> None:
    hung = desk.take()
    desk.clock.now += 80
    other = desk.take()
    desk.clock.now += 11
    desk.keeper.tick()
    assert desk.exits == [EXIT_HUNG]
    job = desk.store.get(hung.claim.id)
    assert job.error is not None
    assert (job.state, job.error.code) == (JobState.FAILED, "deadline_exceeded")
    assert desk.store.get(other.claim.id).state is JobState.QUEUED
    assert desk.keeper.draining, "what was handed back must not be claimed by the process that leaves"


def test_a_job_that_only_waits_to_be_stored_is_not_hung(desk: Desk) -> None:
    desk.take().computed()
    desk.clock.now += 1000
    desk.keeper.tick()
    assert desk.exits == []


def test_a_job_past_its_deadline_has_a_grace_to_stop_by_itself(desk: Desk) -> None:
    desk.take()
    desk.clock.now += 60 + desk.settings.deadline_grace_s
    desk.keeper.tick()
    assert desk.exits == []


def test_a_job_that_is_being_claimed_is_handed_back_as_well(desk: Desk) -> None:
    desk.take()
    desk.clock.now += 91
    begun = threading.Event()

    def claim() -> JobControl:
        with desk.held.claiming:
            begun.set()
            while not desk.keeper.draining:  # so the keeper is at it
                time.sleep(0.001)
            return desk.take()

    with ThreadPoolExecutor(1) as slot:
        claimed = slot.submit(claim)
        begun.wait()
        desk.keeper.tick()
        assert desk.store.get(claimed.result().claim.id).state is JobState.QUEUED
    assert desk.exits == [EXIT_HUNG]


def test_draining_releases_after_the_grace_and_leaves_in_the_end(desk: Desk) -> None:
    control = desk.take()
    assert not desk.keeper.draining
    desk.keeper.drain()
    assert desk.keeper.draining
    desk.keeper.tick()
    control.check()
    desk.clock.now += 21
    desk.keeper.tick()
    with pytest.raises(Released):
        control.check()
    assert desk.exits == []
    desk.clock.now += 5
    desk.keeper.tick()
    assert desk.exits == [EXIT_DRAINED]
    assert desk.store.get(control.claim.id).state is JobState.QUEUED


def test_a_cancel_is_heard_at_once(desk: Desk) -> None:
    control = desk.take()
    desk.keeper.start()
    wait_for_listener(desk.store.client)
    desk.store.cancel(control.claim.id)
    waiter = desk.clock.now + 10
    while not control.stopping and desk.clock.now < waiter:
        desk.store.ping()
    desk.keeper.stop()
    with pytest.raises(Cancelled):
        control.check()
    assert desk.store.workers() == []


def wait_for_listener(client: redis.Redis) -> None:
    while not client.pubsub_numsub("explaind:cancel")[0][1]:  # type: ignore[index]
        pass
