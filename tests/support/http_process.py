"""The service as a process, over TCP: started with some settings, asked by bytes, ended."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from explaind_jobs.local_stack.child_process import spawn

START_S = 30.0
# No answer takes longer, or the service hangs.
ANSWER_S = 15.0


@dataclass(frozen=True)
class Served:
    """A running service."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        """A connection that gives up when an answer takes too long."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_S)

    def exchange(self, *parts: bytes) -> bytes:
        """Everything that comes back on a connection for these bytes, until the service hangs up."""
        with self.connect() as connection:
            for part in parts:
                connection.sendall(part)
            return read_all(connection)

    def healthy(self) -> bool:
        """Whether it still answers others at once."""
        return httpx.get(f"{self.url}/healthz", trust_env=False, timeout=5).is_success

    def words(self) -> str:
        """Its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")


def read_all(connection: socket.socket) -> bytes:
    """What comes until the other end hangs up, by whichever way."""
    found = b""
    try:
        while chunk := connection.recv(65536):
            found += chunk
    except ConnectionResetError:
        pass
    return found


@contextmanager
def served(redis_url: str, folder: Path, **settings: str) -> Iterator[Served]:
    """A service with these settings (`RECEIVE_S="1"`) that ends with the context."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "EXPLAIND_REDIS_URL": redis_url,
        "EXPLAIND_PORT": str(port),
        "EXPLAIND_DATA_DIR": str(folder / "data"),
        **{f"EXPLAIND_{name}": value for name, value in settings.items()},
    }
    log = folder / "service.log"
    with log.open("wb") as output:
        process = spawn([sys.executable, "-m", "explaind_service"], env=env, output=output.fileno())
    service = Served(process, port, log)
    try:
        _await_start(service)
        yield service
    finally:
        process.kill()
        process.wait()


def _await_start(service: Served) -> None:
    until = time.monotonic() + START_S
    while True:
        assert service.process.poll() is None, service.words()
        assert time.monotonic() < until, service.words()
        try:
            if service.healthy():
                return
        except httpx.TransportError:
            time.sleep(0.05)
