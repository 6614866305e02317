"""Waits for a job: by its server-sent events, with reconnects, or else by polling."""

from collections.abc import Iterator
from typing import Any

import httpx

from explaind.contract.errors import ExplaindError, JobNotFound, WaitTimeout
from explaind.contract.job import Job
from explaind.protocol.events import JobEvent, change, event_of
from explaind.protocol.exchange import (
    RETRY_STATUSES,
    CloseStream,
    Flow,
    OpenStream,
    Policy,
    ReadChunk,
    Report,
    Request,
    Sleep,
    error_of,
    may_pass,
)
from explaind.protocol.operations import get_job, path_of
from explaind.protocol.sse import EventParser

FIRST_POLL_S = 0.02
LONGEST_POLL_S = 1.0
POLL_GROWTH = 1.15

# The service sends a ping at least every 15 s; longer silence means that a proxy buffers the stream.
SILENCE_S = 20.0
# The service ends a stream in time by itself; the client closes it this much later.
LATE_S = 1.0


def follow(policy: Policy, seen: Job[Any], timeout: float | None) -> Flow[Job[Any]]:
    """Wait until a job has ended, in whatever state, and report its events meanwhile.

    Returns:
        The job, with its result if it has succeeded.

    Raises:
        WaitTimeout: it had not ended after `timeout` seconds; it continues, and `instance` is its path.
        JobNotFound: the job does not exist, or no longer.
    """
    if seen.state.terminal:
        yield Report(JobEvent("end", seen))
        return seen
    yield Report(JobEvent("job", seen))
    following = FollowState(policy, seen, timeout)
    # An older service has no link to events; a wait of 0 seconds polls once.
    if seen.links.events and timeout != 0 and (yield from _follow_events(following)):
        ended = yield from get_job(policy, seen.id, deadline=following.deadline)
        if ended.state.terminal:
            yield Report(JobEvent("end", ended))
            return ended
    return (yield from _poll(following))


class FollowState:
    """State of following a job: the job as last seen, and the deadline."""

    def __init__(self, policy: Policy, seen: Job[Any], timeout: float | None) -> None:
        self.policy = policy
        self.job = seen
        self.timeout = timeout
        self.deadline = None if timeout is None else policy.clock() + timeout

    @property
    def left(self) -> float | None:
        """Seconds until the deadline; None without one."""
        return None if self.deadline is None else self.deadline - self.policy.clock()

    def within(self, seconds: float) -> float:
        """`seconds`, but no more than the time left."""
        return seconds if self.left is None else max(0.0, min(seconds, self.left))

    def see(self, now: Job[Any]) -> Iterator[Report]:
        """The report of a change, if anything has changed."""
        event = change(self.job, now)
        self.job = now
        if event is not None:
            yield Report(event)

    def check(self) -> None:
        """Raises WaitTimeout once the deadline has passed."""
        if self.left is not None and self.left <= 0:
            raise self.too_long()

    def too_long(self) -> WaitTimeout:
        """The timeout error of a job that had not ended at the deadline."""
        return WaitTimeout(
            f"Job {self.job.id} was still {self.job.state.value} after {self.timeout:g} seconds; it goes on.",
            hint=f"Take it up again: client.jobs.handle({self.job.id!r}) or `explaind jobs wait {self.job.id}`.",
            instance=self.job.links.self,
        )


def _poll(following: FollowState) -> Flow[Job[Any]]:
    """Poll the job until it has ended."""
    pause, polled = FIRST_POLL_S, False
    while not following.job.state.terminal:
        if polled:
            following.check()
        yield Sleep(following.within(pause))
        now, polled = (yield from get_job(following.policy, following.job.id, deadline=following.deadline)), True
        yield from following.see(now)
        pause = min(pause * POLL_GROWTH, LONGEST_POLL_S)
    return following.job


class EventsUnavailable(Exception):
    """No event stream: the route does not exist, or a proxy buffers it."""


def _follow_events(following: FollowState) -> Flow[bool]:
    """Follow the event stream, reconnecting if it breaks off; True if the job has ended, False to poll instead."""
    parser, retries = EventParser(), 0
    while True:
        following.check()
        before = parser.last_id
        try:
            if (yield from _read_stream(following, parser)):
                return True
            again = True
        except EventsUnavailable:
            again = False
        except httpx.RequestError as error:
            held_back = isinstance(error, httpx.ReadTimeout) and not parser.last_id
            again = may_pass(error) and not held_back
        yield CloseStream()
        following.check()
        retries = 0 if parser.last_id != before else retries
        pause = following.policy.pause(retries, parser.retry_s) if again else None
        if pause is None:
            return False
        yield Sleep(following.within(pause))
        retries += 1
        parser = parser.resumed()


def _read_stream(following: FollowState, parser: EventParser) -> Flow[bool]:
    """Read one connection to its end; returns whether the job has ended."""
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
    if parser.last_id:
        headers["Last-Event-ID"] = parser.last_id
    query, silence = {}, SILENCE_S
    if following.left is not None:
        query, silence = {"seconds": f"{max(following.left, 0.001):.3f}"}, min(SILENCE_S, following.left + LATE_S)
    request = Request("GET", f"{path_of(following.job.id)}/events", query=query, headers=headers)
    response: httpx.Response = yield OpenStream(request, silence)
    if response.status_code == 204:
        return True
    if not response.is_success:
        return _refused(response)
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        raise EventsUnavailable
    while chunk := (yield ReadChunk()):
        for message in parser.feed(chunk):
            try:
                event = event_of(following.job, message)
            except (ValueError, KeyError, TypeError) as error:
                raise EventsUnavailable from error
            if event is None:
                continue
            if event.job.state.terminal:
                yield CloseStream()
                return True
            yield from following.see(event.job)
        following.check()
    return False


def _refused(response: httpx.Response) -> bool:
    """False if the refusal is temporary.

    Raises:
        JobNotFound: the job does not exist.
        EventsUnavailable: the route does not exist, or the limit of streams is reached.
    """
    error: ExplaindError = error_of(response)
    if isinstance(error, JobNotFound):
        raise error
    if response.status_code not in RETRY_STATUSES or error.code == "too_many_streams":
        raise EventsUnavailable
    return False
