"""Long polling: waits for the end of a job on behalf of a request. The only module that knows how an end is noticed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from explaind.contract.errors import StoreUnavailable
from explaind.contract.job import Job
from explaind_jobs.store.job_store import AsyncJobStore
from explaind_service.events.hub import Hub

# Delay caused by a missed event, or by a caller who has disconnected.
LOOK_S = 1.0
AWAY_PAUSE_S = 0.1


class JobWaiter:
    """Waits for the event of a job's end, and polls in case it was missed."""

    def __init__(self, store: AsyncJobStore, hub: Hub) -> None:
        self._store = store
        self._hub = hub

    async def for_end(self, job: Job[Any], last: str, seconds: float, gone: Callable[[], Awaitable[bool]]) -> Job[Any]:
        """The job once it has ended, or as it is after `seconds` or once the caller has disconnected (`gone`).

        `last` is the job's latest event when `job` was read. Store failures are waited out: the job is already
        accepted. At shutdown waiting ends at once.

        Raises:
            JobNotFound: the job was deleted meanwhile.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        if job.state.terminal or seconds <= 0:
            return job
        with self._hub.subscribe(job.id, last, only_end=True) as heard:
            pause = 0.0 if heard.behind else LOOK_S
            while not (job.state.terminal or heard.stopping) and (left := until - clock()) > 0:
                ended = await heard.take(min(pause, left))
                if not ended and await gone():
                    break
                try:
                    job = await self._store.get(job.id)
                    pause = LOOK_S
                except StoreUnavailable:
                    pause = AWAY_PAUSE_S
        return job
