"""Writes one client's SSE stream: snapshot, replay, live events, end."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from explaind.contract.errors import JobNotFound, StoreUnavailable
from explaind.contract.job import Job, JobState
from explaind_service.events.entries import END, START, Event, StreamId, place_of
from explaind_service.events.hub import PAGE, Hub
from explaind_service.events.sse_frames import PING, end_frame, farewell, gone_frame, job_frame, queue_frame
from explaind_service.events.subscription import Subscription

LOOK_S = 2.0
STORE_PATIENCE_S = 5.0
STORE_PAUSE_S = 0.2

# The job and the id of its latest event, read together.
Seen = tuple[Job[Any], str]


@dataclass(frozen=True)
class StreamStart:
    """Start of a stream: a snapshot of the job, and the last event that the client has (None: a new client)."""

    job: Job[Any]
    last: str
    resumed: StreamId | None = None

    @property
    def place(self) -> StreamId:
        """The stream id after which the client continues."""
        return self.resumed or place_of(self.last) or START


class EventStreamWriter:
    """Streams one job's events to one client, up to its end or for `seconds`."""

    def __init__(
        self,
        hub: Hub,
        look: Callable[[], Awaitable[Seen]],
        beginning: StreamStart,
        *,
        ping_s: float,
        seconds: float | None = None,
    ) -> None:
        self._hub = hub
        self._look = look
        self._beginning = beginning
        self._job = beginning.job
        self._queued = beginning.job.state is JobState.QUEUED
        self._ping_s = ping_s
        self._clock = asyncio.get_running_loop().time
        now = self._clock()
        self._ping_at, self._look_at = now + ping_s, now + LOOK_S
        self._ends_at = None if seconds is None else now + seconds

    async def tell(self, heard: Subscription, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Sends frames until the stream is over. A client whose stream lacks an `end` reconnects for the rest."""
        heard.place = self._beginning.place
        self._heard, self._send = heard, send
        try:
            if await self._begin():
                while await self._go_on():
                    pass
        except JobNotFound as error:
            await send(gone_frame(error))
        except StoreUnavailable:
            await send(farewell())

    async def _begin(self) -> bool:
        """Sends the snapshot, or the events the client has missed; returns whether more is to come."""
        if self._beginning.resumed is None:
            await self._send(job_frame(self._job, self._heard.place))
            if not (self._heard.behind or self._job.state.terminal):
                return True
        return await self._catch_up(self._job)

    async def _go_on(self) -> bool:
        """Waits for the next event and sends it; returns whether more is to come."""
        times = (self._ping_at, self._look_at if self._queued else None, self._ends_at)
        due = min(time for time in times if time is not None)
        if events := await self._heard.take(max(0.0, due - self._clock())):
            return await self._pass_on(events)
        if self._heard.stopping:
            await self._send(farewell())
            return False
        now = self._clock()
        if self._ends_at is not None and now >= self._ends_at:
            return False
        if self._queued and now >= self._look_at:
            self._look_at = now + LOOK_S
            await self._say_place()
        if now >= self._ping_at:
            await self._say(PING)
            return await self._check()
        return True

    async def _say(self, frame: bytes) -> None:
        self._ping_at = self._clock() + self._ping_s
        await self._send(frame)

    async def _catch_up(self, job: Job[Any]) -> bool:
        """Sends the stored events that the client lacks, given the snapshot `job`; returns whether more is to come."""
        page_size = PAGE
        while page_size == PAGE:
            page = await self._hub.past(job.id, self._heard.place)
            page_size = len(page)
            if not await self._pass_on(self._heard.only_new(page)):
                return False
        if job.state.terminal:
            await self._send(end_frame(job, self._heard.place))
        return not job.state.terminal

    async def _pass_on(self, events: Sequence[Event]) -> bool:
        """Sends these events; returns whether more is to come."""
        end = next((event for event in events if event.kind == END), None)
        told = [event for event in events if event is not end]
        for event in told:
            if event.kind == "state":
                self._queued = json.loads(event.data)["state"] == JobState.QUEUED
        if told:
            await self._say(b"".join(event.frame for event in told))
        if end is not None:
            await self._send(end_frame(await self._ended(), end.place))
        return end is None

    async def _say_place(self) -> None:
        with contextlib.suppress(StoreUnavailable):
            seen, _ = await self._look()
            if seen.state is JobState.QUEUED and _standing(seen) != _standing(self._job):
                self._job = seen
                await self._say(queue_frame(seen))

    async def _check(self) -> bool:
        """Checks whether the job was deleted, or ended without an event; returns whether more is to come."""
        with contextlib.suppress(StoreUnavailable):
            job, _ = await self._look()
            return await self._catch_up(job) if job.state.terminal else True
        return True

    async def _ended(self) -> Job[Any]:
        """The job after its end; waits while the store is briefly unavailable."""
        until = self._clock() + STORE_PATIENCE_S
        while True:
            try:
                return (await self._look())[0]
            except StoreUnavailable:
                if self._clock() > until or self._heard.stopping:
                    raise
                await asyncio.sleep(STORE_PAUSE_S)


def _standing(job: Job[Any]) -> tuple[int | None, float | None]:
    return job.queue_position, job.starts_in_s
