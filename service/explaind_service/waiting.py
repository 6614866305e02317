"""Waits for the end of a job on behalf of a request. The only place that knows how the end is noticed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from explaind.contract.errors import StoreUnavailable
from explaind.contract.job import Job
from explaind_jobs.store import AsyncJobStore

FIRST_PAUSE_S = 0.005
LONGEST_PAUSE_S = 0.1
GROWTH = 1.5


class Waiting:
    """Looks at a job again and again, at first every 5 ms and at last every 100 ms."""

    def __init__(self, store: AsyncJobStore) -> None:
        self._store = store
        self._stopping = False

    def stop(self) -> None:
        """Ends every wait soon, each with the job as it stands: the service is going down."""
        self._stopping = True

    async def for_end(self, job: Job[Any], seconds: float, gone: Callable[[], Awaitable[bool]]) -> Job[Any]:
        """The job once it has ended, or as it stands after so many seconds or once the caller has `gone`.

        A store that does not answer for a while is waited for too: the job is accepted already.

        Raises:
            JobNotFound: someone deleted the job meanwhile.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        pause = FIRST_PAUSE_S
        while not (job.state.terminal or self._stopping) and (left := until - clock()) > 0:
            await asyncio.sleep(min(pause, left))
            pause = min(pause * GROWTH, LONGEST_PAUSE_S)
            if await gone():
                break
            try:
                job = await self._store.get(job.id)
            except StoreUnavailable:
                continue
        return job
