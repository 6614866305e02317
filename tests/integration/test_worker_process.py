"""A real Celery worker process, and what may happen to it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from explaind.contract.errors import StoreUnavailable
from explaind.contract.job import JobState
from explaind_jobs.files.file_store import FileStore
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import JobStore
from explaind_jobs.store.permits import PermitPublisher, permits_key
from explaind_jobs.store.records import NewJob
from tests.support.redis_refusals import refusing

pytestmark = pytest.mark.integration

FAKE_WORKER = Path(__file__).with_name("fake_worker.py")
PATIENCE_S = 30.0


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait for another process to get there."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {what}"
        time.sleep(0.005)


class Bench:
    """A store, a publisher, and worker processes around a runner that only waits."""

    def __init__(self, client: redis.Redis, settings: JobsSettings, folder: Path) -> None:
        self.settings = settings
        self.store = JobStore(client, settings)
        self.permits = PermitPublisher(settings)
        self.permits.start()
        self.log = (folder / "worker.log").open("ab")
        self.workers: list[subprocess.Popen[bytes]] = []

    def start_worker(self, slots: int = 2, **env: str) -> subprocess.Popen[bytes]:
        known = {worker.instance for worker in self.store.workers()}
        worker = self.spawn_worker(slots, **env)
        eventually(lambda: {w.instance for w in self.store.workers()} - known != set(), "a worker beats")
        return worker

    def spawn_worker(self, slots: int = 2, **env: str) -> subprocess.Popen[bytes]:
        worker = subprocess.Popen(
            [sys.executable, str(FAKE_WORKER), str(slots)],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                "EXPLAIND_REDIS_URL": str(self.settings.redis_url),
                "EXPLAIND_DATA_DIR": str(self.settings.data_dir),
                **env,
            },
            stdout=self.log,
            stderr=self.log,
        )
        self.workers.append(worker)
        return worker

    def submit(self, request: str, *, ring: bool = True) -> str:
        job_id = self.store.create(NewJob("explain/shap", "demo", "default", request.encode())).id
        if ring:
            self.permits.wake("default")
        return job_id

    def state(self, job_id: str) -> JobState:
        return self.store.get(job_id).state

    def await_state(self, job_id: str, state: JobState) -> None:
        eventually(lambda: self.state(job_id) is state, f"{job_id} is {state.value}")

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self.permits.stop()
        self.log.close()


@pytest.fixture
def bench(valkey: redis.Redis, redis_url: str, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(valkey, JobsSettings(redis_url=redis_url, data_dir=tmp_path / "data"), tmp_path)
    yield bench
    bench.close()


def test_every_job_ends_once(bench: Bench) -> None:
    bench.start_worker()
    ids = [bench.submit('{"steps": 3}') for _ in range(20)]
    for job_id in ids:
        bench.await_state(job_id, JobState.SUCCEEDED)
    jobs = [bench.store.get(job_id) for job_id in ids]
    assert [job.attempt for job in jobs] == [1] * 20
    assert bench.store.result(ids[0]) == b'{"attempt": 1}'
    assert bench.store.queued() == 0


@pytest.mark.parametrize("code", ["MISCONF", "NOPERM"])
def test_workers_outlast_a_redis_that_refuses(bench: Bench, valkey: redis.Redis, code: str) -> None:
    """One that runs and one that starts meanwhile: both go on by themselves, and nothing is lost or done twice."""
    running = bench.start_worker(slots=3)
    ids = [bench.submit('{"steps": 10, "step_s": 0.1}') for _ in range(2)]
    eventually(lambda: bench.state(ids[1]) is JobState.RUNNING, "two jobs run")
    log = Path(bench.log.name)
    with refusing(valkey, code):
        starting = bench.spawn_worker()
        for said in ("the job store is waited for", "no permits from Redis", "the worker waits"):
            eventually(lambda said=said: f"{said}" in log.read_text(), said)
        assert log.read_text().count(code) >= 3
        with pytest.raises(StoreUnavailable, match=code):
            bench.submit("{}", ring=False)
    for job_id in ids:
        bench.await_state(job_id, JobState.SUCCEEDED)
    assert [bench.store.get(job_id).attempt for job_id in ids] == [1] * 2
    eventually(lambda: len(bench.store.workers()) == 2, "both beat")
    assert (running.poll(), starting.poll()) == (None, None)
    assert "Traceback" not in log.read_text()
    running.kill()
    running.wait()
    bench.await_state(bench.submit("{}"), JobState.SUCCEEDED)


def test_a_job_reads_a_dataset_and_leaves_an_artifact_to_whoever_asked(bench: Bench) -> None:
    bench.start_worker()
    files = FileStore(bench.store.run, bench.store.settings)
    mine, other = files.of("k1"), files.of("k2")
    dataset, _ = mine.put_dataset(b"a\n1\n2\n3\n", "csv", "numbers")
    request = json.dumps({"dataset": dataset.id}).encode()
    done, refused = (
        bench.store.create(NewJob("explain/shap", "demo", "default", request, key=key)).id for key in ("k1", "k2")
    )
    bench.permits.wake("default")
    bench.await_state(done, JobState.SUCCEEDED)
    bench.await_state(refused, JobState.FAILED)
    error = bench.store.get(refused).error
    assert error is not None
    assert (error.code, error.errors[0].pointer) == ("unknown_dataset", "/questions/dataset")
    card = mine.artifacts().data[0]
    assert (card.job, card.model, mine.artifact(card.id)) == (done, "demo", b"3")
    assert json.loads(bench.store.result(done) or b"")["artifact"] == card.id
    assert other.artifacts().data == []


def test_a_lost_permit_is_rung_again(bench: Bench) -> None:
    bench.start_worker()
    job_id = bench.submit("{}", ring=False)
    bench.await_state(job_id, JobState.SUCCEEDED)


def test_a_worker_that_may_not_claim_leaves_the_permits_to_others(bench: Bench) -> None:
    suspect = bench.submit('{"steps": 20, "step_s": 0.05}', ring=False)
    claim = bench.store.claim("one that died", ["default"])
    assert claim is not None
    bench.store.release(suspect, claim.attempt, lost=True)
    others = [bench.submit("{}", ring=False) for _ in range(2)]
    permits = permits_key(bench.settings, "default")
    for _ in range(200):
        bench.permits.wake("default")
    eventually(lambda: bench.store.client.llen(permits) == 200, "all permits are out")
    bench.start_worker(slots=4)
    bench.await_state(suspect, JobState.SUCCEEDED)
    assert int(bench.store.client.llen(permits)) > 100  # type: ignore[arg-type]
    for job_id in others:
        bench.await_state(job_id, JobState.SUCCEEDED)


def test_a_slot_goes_on_while_jobs_wait(bench: Bench) -> None:
    bench.store.client.set("explaind:chores", "nobody", px=60_000)  # no reconciler rings meanwhile
    bench.start_worker(slots=1)
    ids = [bench.submit("{}", ring=False) for _ in range(10)]
    bench.permits.wake("default")
    for job_id in ids:
        bench.await_state(job_id, JobState.SUCCEEDED)


def test_a_running_job_is_cancelled(bench: Bench) -> None:
    bench.start_worker()
    job_id = bench.submit('{"steps": 10000, "step_s": 0.01}')
    bench.await_state(job_id, JobState.RUNNING)
    bench.store.cancel(job_id)
    bench.await_state(job_id, JobState.CANCELLED)


def test_a_successor_finishes_what_a_killed_worker_began(bench: Bench) -> None:
    first = bench.start_worker()
    job_id = bench.submit('{"steps": 1, "step_s": 1.5}')
    bench.await_state(job_id, JobState.RUNNING)
    first.kill()
    first.wait()
    bench.start_worker()
    bench.await_state(job_id, JobState.SUCCEEDED)
    assert bench.store.get(job_id).attempt == 2
    assert bench.store.result(job_id) == b'{"attempt": 2}'


def test_a_stopping_worker_ends_what_it_can(bench: Bench) -> None:
    worker = bench.start_worker(slots=1)
    running = bench.submit('{"steps": 5, "step_s": 0.1}')
    waiting = bench.submit("{}")
    bench.await_state(running, JobState.RUNNING)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(PATIENCE_S) == 0
    assert bench.state(running) is JobState.SUCCEEDED
    assert bench.state(waiting) is JobState.QUEUED
    assert bench.store.workers() == []


def test_a_stopping_worker_gives_back_what_takes_too_long(bench: Bench) -> None:
    worker = bench.start_worker(EXPLAIND_DRAIN_GRACE_S="0.2")
    job_id = bench.submit('{"steps": 100000, "step_s": 0.01}')
    bench.await_state(job_id, JobState.RUNNING)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(PATIENCE_S) == 0
    job = bench.store.get(job_id)
    assert (job.state, job.queue_position) == (JobState.QUEUED, 0)


def test_the_watchdog_leaves_a_hung_process(bench: Bench) -> None:
    worker = bench.start_worker(EXPLAIND_DEADLINE_S="0.5", EXPLAIND_DEADLINE_GRACE_S="0.5")
    hung = bench.submit('{"hang_s": 1000}')
    assert worker.wait(PATIENCE_S) == 75
    job = bench.store.get(hung)
    assert job.error is not None
    assert (job.state, job.error.code) == (JobState.FAILED, "deadline_exceeded")


def test_a_job_past_its_soft_deadline_fails_and_the_worker_goes_on(bench: Bench) -> None:
    bench.start_worker(EXPLAIND_DEADLINE_S="0.3")
    late = bench.submit('{"steps": 100000, "step_s": 0.01}')
    bench.await_state(late, JobState.FAILED)
    bench.await_state(bench.submit("{}"), JobState.SUCCEEDED)


def test_a_worker_whose_device_broke_leaves_and_its_successor_does_the_jobs(bench: Bench) -> None:
    worker = bench.start_worker()
    innocent = bench.submit('{"steps": 100, "step_s": 0.05}')
    bench.await_state(innocent, JobState.RUNNING)
    breaking = bench.submit('{"breaks_device": 1}')
    assert worker.wait(PATIENCE_S) == 76
    bench.await_state(breaking, JobState.QUEUED)
    assert bench.store.workers() == []
    bench.start_worker()
    for job_id in (breaking, innocent):
        bench.await_state(job_id, JobState.SUCCEEDED)
        assert bench.store.get(job_id).attempt == 2
    losses = [bench.store.client.hget(f"explaind:job:{job_id}", "losses") for job_id in (breaking, innocent)]
    assert losses == [b"1", b"0"]


def test_a_job_may_have_a_deadline_of_its_own(bench: Bench) -> None:
    bench.start_worker()
    request = b'{"steps": 100000, "step_s": 0.01}'
    job_id = bench.store.create(NewJob("explain/shap", "demo", "default", request, timeout_s=0.3)).id
    bench.permits.wake("default")
    bench.await_state(job_id, JobState.FAILED)
    error = bench.store.get(job_id).error
    assert error is not None
    assert (error.code, "timeout_s" in (error.hint or "")) == ("deadline_exceeded", True)
