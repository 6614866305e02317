"""Connections: enough of them, and the password from the file where Redis wants one."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from explaind.contract.errors import StoreUnavailable
from explaind_jobs.local_stack.redis_server import find_server, start_server
from explaind_jobs.redis_scripts.connection import API_CONNECTIONS, async_redis_from, redis_from
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import AsyncJobStore, JobStore
from explaind_jobs.store.permits import PermitPublisher, permits_key

PASSWORD = "a/b@c:d%41 #?ü"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[JobsSettings]:
    """Settings for a real server that asks for a password, which is in a file."""
    binary = find_server()
    assert binary is not None
    with tempfile.TemporaryDirectory(prefix="explaind-") as folder:
        server = start_server(binary, Path(folder), Path(folder) / "redis.sock", durable=False)
        try:
            with redis.Redis(unix_socket_path=f"{folder}/redis.sock") as client:
                client.config_set("requirepass", PASSWORD)
            (tmp_path / "password").write_text(f"{PASSWORD}\n", encoding="utf-8")
            yield JobsSettings(redis_url=f"unix://{folder}/redis.sock?db=0", redis_password_file=tmp_path / "password")
        finally:
            server.kill()
            server.wait()


def test_the_server_asks(guarded: JobsSettings) -> None:
    with redis_from(JobsSettings(redis_url=guarded.redis_url)) as client, pytest.raises(StoreUnavailable):
        JobStore(client, guarded).workers()


async def test_both_stores_are_let_in(guarded: JobsSettings) -> None:
    with redis_from(guarded) as client:
        assert JobStore(client, guarded).workers() == []
    client = async_redis_from(guarded)
    assert await AsyncJobStore(client, guarded).workers() == []
    await client.aclose()


def test_permits_are_let_in(guarded: JobsSettings) -> None:
    publisher = PermitPublisher(guarded)
    publisher.start()
    publisher.wake("gpu")
    publisher.stop()
    with redis_from(guarded) as client:
        assert client.llen(permits_key(guarded, "gpu")) == 1


async def test_the_service_waits_for_the_store_as_long_as_it_is_set_to(redis_url: str) -> None:
    for seconds in (1.5, 30.0):
        client = async_redis_from(JobsSettings(redis_url=redis_url, store_timeout_s=seconds))
        pool = client.connection_pool
        assert (pool.connection_kwargs["socket_timeout"], pool.timeout) == (seconds, 2.5 * seconds)  # type: ignore[attr-defined]
        await client.aclose()


async def test_a_store_that_does_not_answer_in_time_is_unavailable(valkey: redis.Redis, redis_url: str) -> None:
    settings = JobsSettings(redis_url=redis_url, store_timeout_s=1.01)
    client = async_redis_from(settings)
    valkey.client_pause(2500)
    try:
        with pytest.raises(StoreUnavailable):
            await AsyncJobStore(client, settings).workers()
    finally:
        valkey.client_unpause()
        await client.aclose()


async def test_more_calls_than_connections_wait_for_each_other(redis_url: str) -> None:
    client = async_redis_from(JobsSettings(redis_url=redis_url))
    try:
        # Each holds its connection for a while, so that there cannot be enough of them.
        calls = [client.blpop(["nothing"], timeout=0.05) for _ in range(API_CONNECTIONS + 50)]  # type: ignore[arg-type]
        assert await asyncio.gather(*calls) == [None] * len(calls)
    finally:
        await client.aclose()
