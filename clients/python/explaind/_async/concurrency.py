"""Primitives of the async client; `explaind._sync.concurrency` has those of the sync client under the same names."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from explaind.contract.job import Job
from explaind.protocol.exchange import OnProgress

SleepFunction = Callable[[float], Awaitable[None]]

# Raised in a call that is interrupted while it waits.
Interrupt = asyncio.CancelledError

sleep = asyncio.sleep
run_in_thread = asyncio.to_thread


def time_limit(seconds: float) -> AbstractAsyncContextManager[object]:
    """A context that raises TimeoutError after `seconds`."""
    return asyncio.timeout(seconds)


async def report_progress(callback: OnProgress | None, job: Job[Any]) -> None:
    """Calls `callback`, if there is one, with the job, and awaits what it returns where that is awaitable."""
    outcome = callback(job) if callback is not None else None
    if inspect.isawaitable(outcome):
        await outcome
