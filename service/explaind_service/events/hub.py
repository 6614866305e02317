"""The event reader of a process: a single blocking XREAD over all followed jobs."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import redis

from explaind_jobs.redis_scripts.connection import async_redis_from
from explaind_jobs.redis_scripts.refusals import translated
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.transitions import events_key
from explaind_service.events.entries import START, Event, StreamId, events_of, id_of, place_of
from explaind_service.events.subscription import Subscription

logger = logging.getLogger(__name__)

# Below the shortest `store_timeout_s`, to tell a silent store from one without events.
BLOCK_MS = 1000
AWAY_PAUSE_S = 0.25
CANCEL_AGAIN_S = 0.05
READ_AT_ONCE = 100
PAGE = 200
CONTROL_TTL_S = 60
# With many followed jobs, events are gathered this long and read together.
GATHER_S = 0.003
FEW = 4


@dataclass(eq=False)
class Followed:
    """A followed job; its events up to `place` have been delivered."""

    place: StreamId
    subscriptions: set[Subscription] = field(default_factory=set)


class Hub:
    """Reads the events of followed jobs and delivers them to their subscriptions.

    A blocking XREAD cannot change its set of streams. An extra control stream wakes the reader when a job is added.
    """

    def __init__(self, settings: JobsSettings) -> None:
        self._settings = settings
        self._client = async_redis_from(settings)
        self._control = f"{settings.key_prefix}hub:{secrets.token_hex(8)}"
        self._control_place = START
        self._control_kept = float("-inf")
        self._followed: dict[str, Followed] = {}
        self._read: Mapping[str, Followed] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._wanted = asyncio.Event()
        self._begun = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self.stopping = False

    @property
    def followed(self) -> int:
        """Number of jobs followed now."""
        return len(self._followed)

    @contextlib.contextmanager
    def subscribe(self, job_id: str, last: str, *, only_end: bool = False) -> Iterator[Subscription]:
        """Subscribes to a job's events.

        Args:
            job_id: the job.
            last: the id of its latest event when it was read; later events are delivered.
            only_end: deliver only the end.
        """
        self._loop = asyncio.get_running_loop()
        key = events_key(self._settings, job_id)
        place = place_of(last) or START
        job = self._followed.setdefault(key, Followed(place))
        subscription = Subscription(place, behind=job.place > place, stopping=self.stopping, only_end=only_end)
        job.subscriptions.add(subscription)
        self._attend()
        try:
            yield subscription
        finally:
            job.subscriptions.discard(subscription)
            if not job.subscriptions and self._followed.get(key) is job:
                del self._followed[key]

    async def past(self, job_id: str, after: StreamId) -> list[Event]:
        """The next stored events of a job after that id, at most `PAGE`.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        with translated():
            return events_of(await self._client.xrange(*self._range(job_id, f"({id_of(after)}", "+"), count=PAGE))

    async def holds(self, job_id: str, place: StreamId) -> bool:
        """Whether the event with that id, and so all later ones, is still stored.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        with translated():
            return bool(await self._client.xrange(*self._range(job_id, id_of(place), id_of(place))))

    def stop(self) -> None:
        """Ends every subscription at once, at shutdown. May be called from a signal handler."""
        self.stopping = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                self._loop.call_soon_threadsafe(self._stop_all)

    async def close(self) -> None:
        """Stops reading and closes the connections."""
        self.stopping = self._closed = True
        self._stop_all()
        self._wanted.set()
        self._begun.set()
        tasks = {task for task in self._tasks.values() if not task.done()}
        while tasks:
            for task in tasks:
                task.cancel()
            # The Redis client may swallow a cancellation.
            _, tasks = await asyncio.wait(tasks, timeout=CANCEL_AGAIN_S)
        with contextlib.suppress(redis.RedisError, OSError):
            await self._client.delete(self._control)
        await self._client.aclose()

    def _range(self, job_id: str, first: str, last: str) -> tuple[str, str, str]:
        return events_key(self._settings, job_id), first, last

    def _stop_all(self) -> None:
        for job in self._followed.values():
            for subscription in job.subscriptions:
                subscription.stop()

    def _attend(self) -> None:
        """Makes the reader cover all followed jobs: starts it, or wakes it where it waits for others."""
        self._wanted.set()
        self._keep("reader", self._read_on)
        if self._unread():
            self._keep("waker", self._wake)

    def _keep(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = self._tasks.get(name)
        if task is None or task.done():
            self._tasks[name] = asyncio.create_task(run(), name=f"events {name}")

    def _unread(self) -> bool:
        return bool(self._read) and any(self._read.get(key) is not job for key, job in self._followed.items())

    async def _wake(self) -> None:
        """Wakes the reader, repeatedly, until it waits for all followed jobs."""
        while not self._closed:
            self._begun.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GATHER_S):
                    await self._begun.wait()
            if not self._unread():
                return
            self._begun.clear()
            try:
                await self._client.xadd(self._control, {"": ""}, maxlen=1, approximate=False)
                await self._keep_control()
            except (redis.RedisError, OSError):
                return  # the reader has failed too, and restarts
            await self._begun.wait()

    async def _keep_control(self) -> None:
        """Sets an expiry on the control stream, which thus outlives a crashed process only briefly."""
        now = asyncio.get_running_loop().time()
        if now - self._control_kept > CONTROL_TTL_S / 3:
            await self._client.expire(self._control, CONTROL_TTL_S)
            self._control_kept = now

    async def _read_on(self) -> None:
        away = False
        while not self._closed:
            if not self._followed:
                self._wanted.clear()
                await self._wanted.wait()
                continue
            try:
                await self._read_once()
            except (redis.RedisError, OSError) as error:
                # Positions are kept: events of the meantime are read afterwards.
                if not away:
                    logger.warning("Events cannot be read (%s); trying again.", type(error).__name__)
                away = True
                await asyncio.sleep(AWAY_PAUSE_S)
            else:
                if away:
                    logger.info("Events are read again.")
                away = False
                if len(self._followed) > FEW:
                    await asyncio.sleep(GATHER_S)

    async def _read_once(self) -> None:
        read = self._read = dict(self._followed)
        places: dict[Any, Any] = {key: id_of(job.place) for key, job in read.items()}
        places[self._control] = id_of(self._control_place)
        self._begun.set()
        try:
            reply: Any = await self._client.xread(places, count=READ_AT_ONCE, block=BLOCK_MS)
        finally:
            self._read = {}
        for raw_key, entries in reply or ():
            events = events_of(entries)
            if not events:
                continue
            key = raw_key.decode()
            if key == self._control:
                self._control_place = events[-1].place
            # A job that was dropped and followed anew meanwhile is read from its new position instead.
            elif (job := read[key]) is self._followed.get(key):
                job.place = events[-1].place
                for subscription in job.subscriptions:
                    subscription.offer(events)
