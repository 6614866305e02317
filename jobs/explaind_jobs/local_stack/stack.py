"""The embedded stack: Redis, worker and API as child processes, running the same code as a deployment."""

import contextlib
import errno
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

import httpx

from explaind_jobs.catalogue import Catalogue
from explaind_jobs.local_stack.child_process import spawn
from explaind_jobs.local_stack.embedded_redis import STAND_IN_WARNING, redis_child, start_stand_in, way_out
from explaind_jobs.local_stack.exposure import check_exposure, free_port, keys_are_asked_for
from explaind_jobs.local_stack.file_lock import try_lock
from explaind_jobs.local_stack.machine_memory import redis_memory, total_memory
from explaind_jobs.local_stack.redis_server import ServerStartError, StackError, find_server
from explaind_jobs.local_stack.start_checks import answers, has_worker, refused_because
from explaind_jobs.local_stack.supervised_process import SupervisedProcess
from explaind_jobs.redis_scripts.connection import publish_url, redis_from
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import JobStore

START_S = 120.0
POLL_S = 0.05
TEND_S = 0.25
PATIENCE_S = 15.0
FULL_PAUSE_S = 1.0
DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True)
class StackCommands:
    """Commands that start the children."""

    api: Sequence[str] = field(default_factory=lambda: [sys.executable, "-m", "explaind_service"])
    worker: Sequence[str] = field(default_factory=lambda: [sys.executable, "-m", "explaind_worker"])


class EmbeddedStack:
    """API, worker and Redis on this machine.

    A context manager; or `start`, then `url`, then `stop`. Start it in a thread that lives as long as the stack (see
    `child_process.spawn`). Children that die are restarted; their output is in `data_dir/logs`.

    Args:
        settings: `data_dir`, `models_file`, and `redis_url` for an existing Redis.
        host: A loopback address; any other only if API keys are required.
        port: 0 for a free one.
        allow_anonymous: Whether to listen beyond loopback without API keys.
        commands: Commands that start the children.
        tell: Called with messages for the user: repairs, and what is being waited for.
    """

    def __init__(
        self,
        settings: JobsSettings,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        allow_anonymous: bool = False,
        commands: StackCommands | None = None,
        tell: Callable[[str], object] = lambda _: None,
    ) -> None:
        data_dir, models_file = settings.data_dir.resolve(), settings.models_file
        self._settings = settings.model_copy(
            update={"data_dir": data_dir, "models_file": models_file.resolve() if models_file else None}
        )
        self._host = host
        self._port = port
        self._allow_anonymous = allow_anonymous
        self._commands = commands or StackCommands()
        self._tell = tell
        self._children: list[SupervisedProcess] = []
        self._cleanup = contextlib.ExitStack()
        self._tending = threading.Lock()
        self._ending = threading.Event()
        self._stopped = threading.Event()
        self._failed = threading.Event()
        self._failure: str | None = None
        self._tender = threading.Thread(target=self._tend, name="stack-tender", daemon=True)
        self.warnings: list[str] = []

    @property
    def url(self) -> str:
        """URL of the API, once started."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def asks_for_keys(self) -> bool:
        """Whether callers must send an API key, once started.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        return keys_are_asked_for(self._settings)

    @property
    def data_dir(self) -> Path:
        """Directory of its data and logs."""
        return self._settings.data_dir

    @property
    def pids(self) -> dict[str, int | None]:
        """Process id of each child."""
        return {child.name: child.pid for child in self._children}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything; returns once the API and the worker are ready.

        Raises:
            StackError: the stack cannot start; nothing is left running.
            CatalogueError: models.toml is invalid.
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def wait(self) -> None:
        """Wait for ever, or until a child keeps dying.

        Raises:
            StackError: a child keeps dying.
        """
        while not self._failed.wait(1.0):
            pass
        raise StackError(self._failure or "The stack failed.")

    def stop(self) -> None:
        """Stop API, worker (its running jobs get their grace period) and Redis, in this order."""
        self._ending.set()
        patience = {"worker": self._settings.drain_grace_s + PATIENCE_S}
        try:
            with self._tending:
                for child in reversed(self._children):
                    child.stop(patience.get(child.name, PATIENCE_S))
        finally:  # reached by a second Ctrl-C too
            for child in self._children:
                child.kill()
            self._children.clear()
            self._stopped.set()
            self._cleanup.close()

    def _start(self) -> None:
        Catalogue.load(self._settings.models_file)
        self._take_data_dir()
        if self._settings.redis_url is None:  # the embedded server has no password
            own = {"redis_url": self._start_redis(), "redis_password_file": None}
            self._settings = self._settings.model_copy(update=own)
        # Whether keys are required is known once Redis is up, before anything listens.
        warning = check_exposure(self._settings, self._host, allow_anonymous=self._allow_anonymous)
        if warning is not None:
            self.warnings.append(warning)
        self._port = free_port(self._host, self._port)
        env = self._environment()
        for name, command in (("worker", self._commands.worker), ("API", self._commands.api)):
            self._start_process(name, command, env)
        self._await_ready()
        self._tender.start()

    def _take_data_dir(self) -> None:
        folder = self.data_dir
        try:
            (folder / "logs").mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.chmod(0o700)  # it contains prompts
            lock = try_lock(folder / "stack.lock")
        except OSError as error:
            raise StackError(f"The data directory {folder} cannot be used: {error.strerror}.") from error
        if lock is None:
            raise StackError(
                f"Another explaind uses the data directory {folder}. Stop it, or give this one another --data-dir."
            )
        self._cleanup.enter_context(lock)

    def _start_redis(self) -> str:
        binary = find_server()
        if binary is None:
            self.warnings.append(STAND_IN_WARNING)
            url = start_stand_in(self._cleanup, free_port("127.0.0.1", 0))
            publish_url(self.data_dir, url, self._cleanup)
            return url
        log = self._log_path("redis")
        folder, output = self.data_dir / "redis", self._log("redis")
        most = redis_memory(self._settings.redis_memory_bytes, total_memory())
        child, url = redis_child(binary, folder, self._cleanup, log, output, tell=self._tell, maxmemory=most)
        self._children.append(child)
        try:
            child.start()
        except (ServerStartError, OSError) as error:
            raise StackError(f"{error}\n{child.last_words()}\n{way_out(folder)}") from error
        if not self._published(url):
            self._tell(f"The disk of {self.data_dir} is full; waiting for space there …")
            while not self._published(url):
                time.sleep(FULL_PAUSE_S)
        return url

    def _published(self, url: str) -> bool:
        """Whether the server's URL was published; False where the disk is full."""
        try:
            publish_url(self.data_dir, url, self._cleanup)
        except OSError as error:
            if error.errno in DISK_FULL:
                return False
            raise StackError(f"The data directory {self.data_dir} cannot be used: {error.strerror}.") from error
        return True

    def _start_process(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> None:
        output = self._log(name.lower())
        child = SupervisedProcess(name, lambda: spawn(command, env=env, output=output), self._log_path(name.lower()))
        self._children.append(child)
        child.start()

    def _environment(self) -> dict[str, str]:
        settings = self._settings
        env = {
            **os.environ,
            "EXPLAIND_REDIS_URL": str(settings.redis_url),
            "EXPLAIND_REDIS_PASSWORD_FILE": str(settings.redis_password_file or ""),
            "EXPLAIND_DATA_DIR": str(settings.data_dir),
            "EXPLAIND_HOST": self._host,
            "EXPLAIND_PORT": str(self._port),
            "PYTHONUNBUFFERED": "1",
            # Child logs are files read by people.
            "EXPLAIND_LOG_FORMAT": "text" if settings.log_format == "auto" else settings.log_format,
        }
        if self._allow_anonymous:
            env["EXPLAIND_ALLOW_ANONYMOUS"] = "1"
        if settings.models_file is not None:
            env["EXPLAIND_MODELS_FILE"] = str(settings.models_file)
        return env

    def _await_ready(self) -> None:
        deadline, told = time.monotonic() + START_S, None
        with redis_from(self._settings) as client, httpx.Client(trust_env=False) as http:
            store = JobStore(client, self._settings)
            while not (answers(http, f"{self.url}/healthz") and has_worker(store)):
                for child in self._children:
                    if not child.alive:
                        raise StackError(f"explaind did not start: {child.last_words()}")
                refused = refused_because(store)
                if refused is not None:  # a reachable Redis that refuses: waited for, as this may last
                    deadline = time.monotonic() + START_S
                    if refused != told:
                        self._tell(f"Waiting: {refused}")
                    told = refused
                if time.monotonic() > deadline:
                    words = "\n".join(child.last_words() for child in self._children)
                    raise StackError(f"explaind did not answer within {START_S:g} s.\n{words}")
                time.sleep(POLL_S)

    def _tend(self) -> None:
        while not self._ending.wait(TEND_S):
            with self._tending:
                self._tend_children()
        # The kernel ends the children when the thread that started them ends, and would not keep their order.
        self._stopped.wait()

    def _tend_children(self) -> None:
        for child in self._children:
            with contextlib.suppress(ServerStartError, OSError):  # counts as another early exit
                child.tend()
            if child.given_up and self._failure is None:
                self._failure = f"The {child.name} keeps dying: {child.last_words()}"
                self._failed.set()

    def _log_path(self, name: str) -> Path:
        return self.data_dir / "logs" / f"{name}.log"

    def _log(self, name: str) -> IO[bytes]:
        path = self._log_path(name)
        if path.exists():
            path.replace(path.with_suffix(".previous.log"))
        return self._cleanup.enter_context(path.open("ab", buffering=0))
