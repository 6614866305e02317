"""Waits for the end of a job on behalf of a request. The only place that knows how the end is noticed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from explaind.contract.errors import StoreUnavailable
from explaind.contract.job import Job
from explaind_jobs.store.job_store import AsyncJobStore
from explaind_service.events.hub import Hub

# An event that was missed costs so long, not the whole wait; so does a caller who has gone.
LOOK_S = 1.0
AWAY_PAUSE_S = 0.1


class JobWaiter:
    """Hears of the end of a job, and looks now and then in case it did not."""

    def __init__(self, store: AsyncJobStore, hub: Hub) -> None:
        self._store = store
        self._hub = hub

    async def for_end(self, job: Job[Any], last: str, seconds: float, gone: Callable[[], Awaitable[bool]]) -> Job[Any]:
        """The job once it has ended, or as it stands after so many seconds or once the caller has `gone`.

        `last` is the job's last event by the time `job` was seen. A store that does not answer for a while is waited
        for too: the job is accepted already. Where the service is going down, nobody waits.

        Raises:
            JobNotFound: someone deleted the job meanwhile.
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
