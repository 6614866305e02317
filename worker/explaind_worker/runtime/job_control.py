"""Progress reporting and cancellation of a running job."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from explaind.contract.errors import DeadlineExceeded, StoreUnavailable
from explaind.contract.job import Progress
from explaind_jobs.files.file_store import Files
from explaind_jobs.store.records import Claim, LeaseStatus
from explaind_worker.stops import Cancelled, LeaseLost, Released, Stop

REPORT_EVERY_S = 0.1
AFTER_FAILURE_S = 2.0

log = logging.getLogger(__name__)


class ProgressKeeper(Protocol):
    """Receiver of progress: the job store."""

    def progress(self, job_id: str, attempt: int, progress: Progress) -> LeaseStatus:
        """Record the progress; returns the status of the lease."""
        ...


class JobControl:
    """Control of one attempt of a job.

    The method calls `report_progress` between batches, layers or tokens. The supervisor, in its thread, calls `cancel`,
    `lose` or `release`, and the next report raises. `files` are those of the job's owner.
    """

    def __init__(
        self,
        claim: Claim,
        store: ProgressKeeper,
        *,
        deadline_s: float,
        files: Files | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.claim = claim
        self.files = files
        self.started = clock()
        self.deadline_s = min(deadline_s, claim.timeout_s or deadline_s)
        self._store = store
        self._clock = clock
        self._orders: set[type[Stop]] = set()
        self._unsent: Progress | None = None
        self._next_report = self.started
        self._computed = False

    @property
    def seconds(self) -> float:
        """Seconds the job has been running."""
        return self._clock() - self.started

    @property
    def stopping(self) -> bool:
        """Whether the next progress report will raise."""
        return bool(self._orders) or self.seconds > self.deadline_s

    @property
    def late_s(self) -> float:
        """Seconds past the job's deadline; 0.0 once it is computed, as the store may be unavailable."""
        return 0.0 if self._computed else max(0.0, self.seconds - self.deadline_s)

    def computed(self) -> None:
        """Marks the job as computed; only storing its outcome is left."""
        self._computed = True

    def cancel(self) -> None:
        """Cancelled by the caller."""
        self._orders.add(Cancelled)

    def lose(self) -> None:
        """The lease is lost to another worker."""
        self._orders.add(LeaseLost)

    def release(self) -> None:
        """The worker is stopping."""
        self._orders.add(Released)

    def report_progress(self, phase: str, done: int, total: int | None, unit: str) -> None:
        """Report progress: `done` of `total` `unit` (say, coalitions) in this phase.

        Cheap enough to call between any two batches: the store gets at most ten updates a second.

        Raises:
            Cancelled, LeaseLost, Released: the method must end now.
            DeadlineExceeded: it has run too long.
        """
        self.check()
        self._unsent = Progress(phase=phase, done=done, total=total, unit=unit)
        if self._clock() >= self._next_report:
            self._report()
            self.check()

    def check(self) -> None:
        """Raise as `report_progress` does, without reporting progress."""
        for order in (LeaseLost, Cancelled, Released):  # in order of precedence
            if order in self._orders:
                raise order(self.claim.id)
        if self.seconds > self.deadline_s:
            raise self.too_late()

    def too_late(self) -> DeadlineExceeded:
        """The error of a job past its deadline: the caller's, or that of the service."""
        if self.claim.timeout_s == self.deadline_s:
            hint = "Ask for less (fewer units, a smaller budget, a shorter target), or for more by timeout_s."
        else:
            hint = "Ask for less (fewer units, a smaller budget, a shorter target), or raise EXPLAIND_DEADLINE_S."
        return DeadlineExceeded(f"The job ran longer than {self.deadline_s:g} s.", hint=hint)

    def _report(self) -> None:
        if self._unsent is None:
            return
        try:
            standing = self._store.progress(self.claim.id, self.claim.attempt, self._unsent)
        except StoreUnavailable as error:
            # The job continues: when the store is back, the lease is extended or found lost.
            log.warning("%s: progress not recorded: %s", self.claim.id, error.detail)
            self._next_report = self._clock() + AFTER_FAILURE_S
            return
        self._unsent = None
        self._next_report = self._clock() + REPORT_EVERY_S
        self.learn(standing)

    def learn(self, standing: LeaseStatus) -> None:
        """Takes in the status of the lease from the store."""
        if standing is LeaseStatus.CANCEL:
            self.cancel()
        elif standing is LeaseStatus.LOST:
            self.lose()


class HeldJobs:
    """The running jobs of this worker; shared by its slots and its supervisor.

    Hold `claiming` from the check of the held jobs until the new job is added: a suspect job must run alone.
    """

    def __init__(self) -> None:
        self.claiming = threading.Lock()
        self._lock = threading.Lock()
        self._controls: dict[str, JobControl] = {}

    def __len__(self) -> int:
        with self._lock:
            return len(self._controls)

    @property
    def alone(self) -> bool:
        """Whether one of them must run alone."""
        return any(control.claim.suspect for control in self.controls())

    def add(self, control: JobControl) -> None:
        """Adds a job that a slot begins."""
        with self._lock:
            self._controls[control.claim.id] = control

    def remove(self, control: JobControl) -> None:
        """Removes a job that a slot has finished."""
        with self._lock:
            if self._controls.get(control.claim.id) is control:
                del self._controls[control.claim.id]

    def find(self, job_id: str) -> JobControl | None:
        """The control of that job, if this worker holds it."""
        with self._lock:
            return self._controls.get(job_id)

    def controls(self) -> list[JobControl]:
        """A snapshot of all controls."""
        with self._lock:
            return list(self._controls.values())

    def pairs(self) -> list[tuple[str, int]]:
        """The (job, attempt) pair of each."""
        return [(control.claim.id, control.claim.attempt) for control in self.controls()]

    def learn(self, standings: Iterable[tuple[str, LeaseStatus]]) -> None:
        """Takes in the leases' status from the store."""
        for job_id, standing in standings:
            control = self.find(job_id)
            if control is not None:
                control.learn(standing)
