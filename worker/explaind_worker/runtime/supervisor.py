"""Supervisor thread of a worker: heartbeats, cancellation, reaping, lost permits, deadlines, drain."""

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import redis

from explaind.contract.errors import StoreUnavailable
from explaind.contract.job import JobState
from explaind_jobs.redis_scripts.refusals import translated
from explaind_jobs.store.job_store import JobStore
from explaind_jobs.store.permits import PermitPublisher, permits_key
from explaind_jobs.store.records import Outcome, WorkerState
from explaind_worker.models.device_errors import EXIT_POISONED
from explaind_worker.runtime.job_control import HeldJobs, JobControl

TICK_S = 0.25
CHORES_EVERY_MS = 900
MAX_BEAT_S = 10.0
MAX_RINGS = 50
HARD_DRAIN_S = 5.0
LAST_TRIES = 5
EXIT_DRAINED = 0
EXIT_HUNG = 75

log = logging.getLogger(__name__)


class Supervisor:
    """Periodic tasks beside the running jobs.

    `state` returns the current state of the worker; `leave_process` ends the process at once (os._exit).
    """

    def __init__(
        self,
        store: JobStore,
        held: HeldJobs,
        state: Callable[[], WorkerState],
        permits: PermitPublisher,
        *,
        leave_process: Callable[[int], Any] = os._exit,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._settings = store.settings
        self._held = held
        self._state = state
        self._permits = permits
        self._leave_process = leave_process
        self._clock = clock
        self._stopped = threading.Event()
        self._drain_since: float | None = None
        self._next_beat = 0.0
        self._next_chores = 0.0
        self._away = False
        self._settled_at = 0.0
        self._told: tuple[list[str], list[str]] | None = None
        self._threads = [
            threading.Thread(target=self._keep, name="keeper", daemon=True),
            threading.Thread(target=self._listen, name="cancel-listener", daemon=True),
        ]

    @property
    def draining(self) -> bool:
        """Whether no more jobs are claimed."""
        return self._drain_since is not None

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def drain(self) -> None:
        """Begins the shutdown: claim nothing more, and give running jobs their grace period."""
        if self._drain_since is None:
            self._drain_since = self._clock()

    def leave_broken(self, broken: JobControl | None) -> None:
        """Leaves a process whose device is broken: hands every job back, the one that was running on it as lost."""
        log.critical("the device is broken, leaving the process with %d jobs", len(self._held))
        self.drain()
        if broken is not None:
            claim = broken.claim
            self._insist(lambda: self._store.release(claim.id, claim.attempt, lost=True))
            self._held.remove(broken)
        self._abandon([])
        self._leave_process(EXIT_POISONED)

    def stop(self) -> None:
        """Ends the threads and deregisters, after the worker's slots have ended."""
        self._stopped.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(MAX_BEAT_S)
        with suppress(StoreUnavailable):
            self._store.deregister(self._state().name)

    def _keep(self) -> None:
        while not self._stopped.is_set():
            try:
                self.tick()
            except Exception as error:  # if the supervisor died, none of its tasks would be done
                log.error("keeper: %s in a tick, going on", type(error).__name__)
            self._stopped.wait(TICK_S)

    def tick(self) -> None:
        """One round; deadlines come first, since they must work without Redis."""
        self._watch_deadlines()
        self._watch_drain()
        try:
            self.beat_if_due()
            self._do_chores()
        except StoreUnavailable as error:
            self._outlast(error)

    def _outlast(self, error: StoreUnavailable) -> None:
        """Handles an unavailable store: heartbeat at the next tick, and no reaping soon after it is back."""
        if not self._away:
            log.warning("the job store is waited for, running jobs go on: %s", error)
        self._away = True
        self._next_beat = 0.0
        self._settled_at = self._clock() + self._settings.heartbeat_s

    def beat_if_due(self) -> None:
        """Sends a heartbeat when due, and at once when a model was loaded or evicted."""
        state = self._state()
        models = (state.models, state.loading)
        if self._clock() < self._next_beat and models == self._told:
            return
        self._held.learn(self._store.heartbeat(state, self._held.pairs()).items())
        if self._away:
            log.info("the job store is back")
        self._away = False
        self._told = models
        self._next_beat = self._clock() + min(self._settings.heartbeat_s, MAX_BEAT_S)

    def _do_chores(self) -> None:
        if self._clock() < self._next_chores:
            return
        self._next_chores = self._clock() + 1.0
        with translated():
            lock = f"{self._settings.key_prefix}chores"
            if self._store.client.set(lock, self._state().name, nx=True, px=CHORES_EVERY_MS):
                if self._server_is_settled():
                    self._store.reap()
                self.ring_missing()

    def _server_is_settled(self) -> bool:
        # After a restart of Redis, or a time of refused writes, all leases look expired: let live workers renew theirs.
        if self._clock() < self._settled_at:
            return False
        info = cast("dict[str, Any]", self._store.client.info("server"))
        return float(info.get("uptime_in_seconds", 0)) > 1.5 * self._settings.lease_s

    def ring_missing(self) -> None:
        """Sends permits for waiting jobs whose permit was lost."""
        for queue, waiting in self._store.waiting().items():
            if waiting:
                with translated():
                    rung = cast("int", self._store.client.llen(permits_key(self._settings, queue)))
                for _ in range(min(waiting - rung, MAX_RINGS)):
                    self._permits.wake(queue)

    def _watch_deadlines(self) -> None:
        grace = self._settings.deadline_grace_s
        hung = [control for control in self._held.controls() if control.late_s > grace]
        if hung:
            log.error("%s: past the hard deadline, leaving the process", ", ".join(c.claim.id for c in hung))
            self.drain()  # a job handed back must not be claimed by this process
            self._abandon(hung)
            self._leave_process(EXIT_HUNG)

    def _watch_drain(self) -> None:
        if self._drain_since is None:
            return
        seconds = self._clock() - self._drain_since
        controls = self._held.controls()
        if seconds > self._settings.drain_grace_s:
            for control in controls:
                control.release()
        hard = self._settings.drain_grace_s + HARD_DRAIN_S if controls else HARD_DRAIN_S
        if seconds > hard:
            log.warning("the worker did not stop by itself, leaving the process with %d jobs", len(controls))
            self._abandon([])
            self._leave_process(EXIT_DRAINED)

    def _abandon(self, hung: list[JobControl]) -> None:
        """Before the process exits: fails the hung jobs, hands back the others."""
        with self._held.claiming:  # jobs being claimed are included, and handed back too
            controls = self._held.controls()
        for control in controls:
            claim = control.claim
            if control in hung:
                late = too_late(control)
                self._insist(lambda claim=claim, late=late: self._store.finish(claim.id, claim.attempt, late))
            else:
                self._insist(lambda claim=claim: self._store.release(claim.id, claim.attempt))
        self._insist(lambda: self._store.deregister(self._state().name))

    def _insist(self, call: Callable[[], object]) -> None:
        for _ in range(LAST_TRIES):
            try:
                call()
                return
            except StoreUnavailable:
                time.sleep(TICK_S)

    def _listen(self) -> None:
        """Listens for cancellations as they happen; the heartbeat finds missed ones."""
        while not self._stopped.is_set():
            try:
                with self._store.client.pubsub(ignore_subscribe_messages=True) as channel:
                    channel.subscribe(f"{self._settings.key_prefix}cancel")
                    while not self._stopped.is_set():
                        message = channel.get_message(timeout=0.5)
                        control = self._held.find(message["data"].decode()) if message else None
                        if control is not None:
                            control.cancel()
            except redis.RedisError:
                self._stopped.wait(1.0)


def too_late(control: JobControl) -> Outcome:
    """The outcome of a job that ignored its deadline."""
    error = control.too_late()
    error.instance, error.request_id = f"/jobs/{control.claim.id}", control.claim.request_id
    return Outcome(JobState.FAILED, error=error.problem())
