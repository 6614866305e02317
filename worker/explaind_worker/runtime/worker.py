"""The worker process and its one Celery task: a permit arrives, a job is claimed, run and finished."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import uuid4

from celery import Celery, signals

from explaind.contract.errors import OutOfMemory, StoreUnavailable
from explaind_jobs.files.file_store import FileStore
from explaind_jobs.observability.log_context import hand_down_context, process_facts
from explaind_jobs.observability.logs import described
from explaind_jobs.observability.tracing import start_tracing
from explaind_jobs.redis_scripts.connection import redis_from
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import JobStore
from explaind_jobs.store.permits import PERMIT_TASK, PermitPublisher, make_celery, queue_key
from explaind_jobs.store.records import Claim, Outcome, WorkerState
from explaind_worker.models.device_errors import DevicePoisoned
from explaind_worker.models.pool.stats import PoolStats
from explaind_worker.runtime.blob_sweeper import Sweeper
from explaind_worker.runtime.job_control import HeldJobs, JobControl
from explaind_worker.runtime.job_tracing import JobSpans, job_lines
from explaind_worker.runtime.outcome import outcome_of, patiently, persist, timed
from explaind_worker.runtime.patient_files import PatientFileStore
from explaind_worker.runtime.permit_consumer import PermitConsumer
from explaind_worker.runtime.supervisor import Supervisor
from explaind_worker.runtime.worker_names import take_name
from explaind_worker.stops import LeaseLost, Released

LINGER_S = 0.25
SHIFT_S = 300.0

log = logging.getLogger(__name__)


class JobRunner(Protocol):
    """Interface of the model side of the worker. A runner without models inherits and defines `run` only."""

    def run(self, claim: Claim, control: JobControl) -> Outcome:
        """Compute a job. May raise any contract error; passes on what `control` raises."""
        ...

    def resident(self) -> list[str]:
        """Models in memory."""
        return []

    def loading(self) -> list[str]:
        """Models being loaded."""
        return []

    def revisions(self) -> Mapping[str, str]:
        """The revision that results depend on, for each model in memory."""
        return {}

    def memory(self) -> PoolStats:
        """Memory statistics of the models."""
        return PoolStats()

    def warm(self) -> None:
        """Prepare whatever would delay the first job."""


class Worker:
    """A worker process: Celery's thread pool, the supervisor, and the runner."""

    def __init__(
        self,
        settings: JobsSettings,
        runner: JobRunner,
        *,
        queues: Sequence[str] = ("default",),
        slots: int = 2,
    ) -> None:
        self._settings = settings
        self._runner = runner
        self._queues = list(queues)
        self._slots = slots
        self._held = HeldJobs()
        self._out_of_memory = 0
        self._started_at = datetime.now(UTC)
        self._instance = uuid4().hex
        self._name = take_name(settings.data_dir)
        self._client = redis_from(settings)
        self._store = JobStore(self._client, settings)
        self._files = FileStore(self._store.run, settings)
        self._permits = PermitPublisher(settings)
        self._spans = JobSpans(settings.telemetry)
        self._keeper = Supervisor(self._store, self._held, self.state, self._permits)
        self._sweeper = Sweeper(self._store, self._files)

    def state(self) -> WorkerState:
        """The current state of the worker."""
        return WorkerState(
            name=self._name.name,
            instance=self._instance,
            queues=self._queues,
            models=self._runner.resident(),
            loading=self._runner.loading(),
            slots=self._slots,
            started_at=self._started_at,
            revisions=self._runner.revisions(),
            gauges=self._gauges(),
        )

    def _gauges(self) -> dict[str, float]:
        memory = self._runner.memory()
        return {
            "memory_bytes_used": memory.bytes_used,
            "memory_bytes_budget": memory.bytes_budget,
            "model_loads": memory.loads,
            "model_evictions": memory.evictions,
            "out_of_memory": self._out_of_memory,
        }

    def start(self) -> int:
        """Work until asked to stop; returns the exit status. Call it in the main thread of a process.

        Waits for a Redis that does not answer or refuses writes.

        Raises:
            StoreUnavailable: its password cannot be read.
            TelemetryError: tracing is enabled and cannot export.
        """
        process_facts(worker=self._name.name)
        hand_down_context()
        if self._settings.telemetry:
            start_tracing("explaind-worker")
        patiently(self._store.check_writable)
        reclaimed = patiently(lambda: self._store.reclaim(self._name.name))
        if reclaimed:
            log.warning("%d jobs of a predecessor that died are back in the queue", len(reclaimed))
        self._permits.start()
        app = make_celery(self._settings)
        app.task(name=PERMIT_TASK)(self.permit)
        try:
            return self._consume(app)
        finally:
            self._keeper.stop()
            self._sweeper.stop()
            self._permits.stop()
            self.close()

    def close(self) -> None:
        """Release the store and the worker name; `start` does so at its end."""
        self._client.close()
        self._name.release()

    def permit(self) -> None:
        """Handles a permit: claims and runs jobs for as long as there are any for this worker.

        Raises nothing that Celery would handle.
        """
        ends = time.monotonic() + SHIFT_S
        try:
            while (control := self._claim()) is not None:
                with job_lines(control.claim):
                    self._work(control)
                if time.monotonic() > ends:  # acknowledge the permit from time to time
                    self._ring()
                    return
            self._linger()
        except StoreUnavailable as error:
            log.warning("no claim (%s); the reconciler will wake a worker again", error.detail)

    def _claim(self) -> JobControl | None:
        """Claims the next job, held from now on; returns its control, None if there is none for this worker."""
        with self._held.claiming:
            if self._held.alone or self._keeper.draining:
                return None
            claim = self._store.claim(self._name.name, self._queues, self._runner.resident(), len(self._held))
            if claim is None:
                return None
            control = JobControl(claim, self._store, deadline_s=self._settings.deadline_s)
            control.files = PatientFileStore(self._files, control.check).of(claim.key, job=claim.id)
            self._held.add(control)
            return control

    def _linger(self) -> None:
        """Holds the permit for a moment if this worker may not take the waiting jobs, lest it use up all permits."""
        waiting = self._store.waiting()
        if any(waiting.get(queue) for queue in self._queues):
            time.sleep(LINGER_S)

    def _ring(self) -> None:
        for queue in self._queues:
            self._permits.wake(queue)

    def _consume(self, app: Celery) -> int:
        def ready(**_: Any) -> None:
            self._keeper.start()
            self._sweeper.start()
            threading.Thread(target=self._warm, name="warm", daemon=True).start()
            log.info(
                "worker %s is ready: queues %s, %d slots",
                self._name.name,
                ",".join(self._queues),
                self._slots,
            )

        def stopping(**_: Any) -> None:
            self._keeper.drain()

        def keep_logging(**_: Any) -> None:
            """A receiver of this signal keeps Celery from configuring logging."""

        signals.setup_logging.connect(keep_logging, weak=False)
        signals.worker_ready.connect(ready, weak=False)
        signals.worker_shutting_down.connect(stopping, weak=False)
        celery_worker = app.Worker(
            consumer_cls=PermitConsumer,
            hostname=f"celery@{self._name.name}",
            pool_cls="threads",
            concurrency=self._slots,
            queues=[queue_key(queue) for queue in self._queues],
            quiet=True,
            without_mingle=True,
            without_gossip=True,
            without_heartbeat=True,
        )
        celery_worker.start()
        return int(celery_worker.exitcode or 0)

    def _warm(self) -> None:
        try:
            self._runner.warm()
        except DevicePoisoned:
            self._keeper.leave_broken(None)
        except Exception as error:  # the job that needs it will report the error
            log.error("warming up failed: %s", described(error))

    def _work(self, control: JobControl) -> None:
        claim = control.claim
        try:
            with self._spans.watch(claim) as watch:
                outcome = outcome_of(self._runner.run, claim, control)
                control.computed()
                self._finish(claim, watch.ended(timed(outcome, claim, control)))
        except Released:
            persist(lambda: self._store.release(claim.id, claim.attempt))
            log.info("%s goes back to the queue, the worker is stopping", claim.id)
        except LeaseLost:
            log.warning("%s is no longer this worker's, attempt %d dropped", claim.id, claim.attempt)
        except DevicePoisoned:
            self._keeper.leave_broken(control)
        except StoreUnavailable as error:
            log.error("%s: its end could not be stored; it will run again: %s", claim.id, error.detail)
            with suppress(StoreUnavailable):  # otherwise its lease expires, which counts as a loss
                self._store.release(claim.id, claim.attempt)
        finally:
            self._held.remove(control)
            if claim.suspect:  # the other slots claimed nothing meanwhile, and their permits are used up
                self._ring()

    def _finish(self, claim: Claim, outcome: Outcome) -> None:
        failed_so = outcome.error is not None and outcome.error.code == OutOfMemory.code
        self._out_of_memory += failed_so + (outcome.timing.backoffs if outcome.timing else 0)
        word = persist(lambda: self._store.finish(claim.id, claim.attempt, outcome))
        if word != "finished":
            log.warning("%s: attempt %d came too late (%s)", claim.id, claim.attempt, word)


def build_worker(
    settings: JobsSettings, runner: JobRunner, *, queues: Sequence[str] = ("default",), slots: int = 2
) -> Worker:
    """A worker with these settings and that runner; call `start` in the main thread of a separate process.

    Raises:
        StoreUnavailable: the settings name no Redis.
        OSError: the data directory cannot be used.
    """
    return Worker(settings, runner, queues=queues, slots=slots)
