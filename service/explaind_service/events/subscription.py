"""One client's subscription to one job: a bounded queue between hub and stream writer."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence

from explaind_service.events.entries import END, Event, StreamId

# Some tens of seconds of the busiest job; the events themselves are shared by all clients of a job.
BACKLOG = 256


class Subscription:
    """Events in order, each once. If they are not read it is `cut` rather than growing.

    `behind`: the hub had already delivered events beyond the subscription's start, which must be read from the store.
    """

    def __init__(
        self, place: StreamId, *, behind: bool = False, stopping: bool = False, only_end: bool = False
    ) -> None:
        self.place = place
        self.behind = behind
        self.stopping = stopping
        self.cut = False
        self.on_cut: Callable[[], None] | None = None
        self._only_end = only_end
        self._events: deque[Event] = deque()
        self._news = asyncio.Event()
        if stopping:
            self._news.set()

    def offer(self, events: Sequence[Event]) -> None:
        """Adds new events."""
        if self._only_end:
            events = [event for event in events if event.kind == END]
        if not events or self.cut:
            return
        if len(self._events) + len(events) > BACKLOG:
            self.cut = True
            self._events.clear()
            if self.on_cut is not None:
                self.on_cut()
        else:
            self._events.extend(events)
        self._news.set()

    def stop(self) -> None:
        """Ends all waiting, at shutdown."""
        self.stopping = True
        self._news.set()

    async def take(self, seconds: float) -> list[Event]:
        """All new events, waiting at most `seconds` for the first; empty if none came."""
        if not self._events and not self.stopping:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._news.wait()
        if not self.stopping:
            self._news.clear()
        events = self.only_new(self._events)
        self._events.clear()
        return events

    def only_new(self, events: Sequence[Event]) -> list[Event]:
        """Those of `events` that this client has not received; they count as received from now on."""
        new = [event for event in events if event.place > self.place]
        if new:
            self.place = new[-1].place
        return new
