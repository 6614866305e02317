"""Connections to the store."""

import asyncio

from explaind_jobs.connection import API_CONNECTIONS, async_redis_from
from explaind_jobs.settings import JobsSettings


async def test_more_calls_than_connections_wait_for_each_other(redis_url: str) -> None:
    client = async_redis_from(JobsSettings(redis_url=redis_url))
    try:
        # Each holds its connection for a while, so that there cannot be enough of them.
        calls = [client.blpop(["nothing"], timeout=0.05) for _ in range(API_CONNECTIONS + 50)]  # type: ignore[arg-type]
        assert await asyncio.gather(*calls) == [None] * len(calls)
    finally:
        await client.aclose()
