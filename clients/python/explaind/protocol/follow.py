"""Following a job to its end: by the service's stream of events, and by asking where that cannot be had."""

from collections.abc import Iterator
from typing import Any

import httpx

from explaind.contract.errors import ExplaindError, JobNotFound, WaitTimeout
from explaind.contract.job import Job
from explaind.protocol.events import JobEvent, change, event_of
from explaind.protocol.exchange import (
    RETRY_STATUSES,
    Flow,
    Hear,
    Leave,
    Listen,
    Policy,
    Report,
    Request,
    Sleep,
    error_of,
    may_pass,
)
from explaind.protocol.operations import job, path_of
from explaind.protocol.sse import EventParser

FIRST_POLL_S = 0.02
LONGEST_POLL_S = 1.0
POLL_GROWTH = 1.15

# The service says something every 15 s. Where nothing comes at all, something on the way holds it back.
SILENCE_S = 20.0
# The service ends a stream in time by itself; a little later it is not waited for.
LATE_S = 1.0


def follow(policy: Policy, seen: Job[Any], timeout: float | None) -> Flow[Job[Any]]:
    """Wait until a job has ended, however it ends, and report everything that happens to it on the way.

    Returns:
        The job, with its result when it has succeeded.

    Raises:
        WaitTimeout: it had not ended after `timeout` seconds; it goes on, and `instance` is its path.
        JobNotFound: there is no such job, or no longer.
    """
    if seen.state.terminal:
        yield Report(JobEvent("end", seen))
        return seen
    yield Report(JobEvent("job", seen))
    watch = FollowState(policy, seen, timeout)
    # A service that has no events yet names no address of theirs; a wait of nothing asks once.
    if seen.links.events and timeout != 0 and (yield from _listen(watch)):
        ended = yield from job(policy, seen.id, deadline=watch.deadline)
        if ended.state.terminal:
            yield Report(JobEvent("end", ended))
            return ended
    return (yield from _poll(watch))


class FollowState:
    """A job that is followed: how it was last seen, and how long it is waited for."""

    def __init__(self, policy: Policy, seen: Job[Any], timeout: float | None) -> None:
        self.policy = policy
        self.job = seen
        self.timeout = timeout
        self.deadline = None if timeout is None else policy.clock() + timeout

    @property
    def left(self) -> float | None:
        """Seconds until the wait is over; None when it is for as long as it takes."""
        return None if self.deadline is None else self.deadline - self.policy.clock()

    def within(self, seconds: float) -> float:
        """So many seconds, or what is left of the wait."""
        return seconds if self.left is None else max(0.0, min(seconds, self.left))

    def see(self, now: Job[Any]) -> Iterator[Report]:
        """The report of what has changed, if anything has."""
        event = change(self.job, now)
        self.job = now
        if event is not None:
            yield Report(event)

    def check(self) -> None:
        """Raises WaitTimeout once the wait is over."""
        if self.left is not None and self.left <= 0:
            raise self.too_long()

    def too_long(self) -> WaitTimeout:
        """The job had not ended in time."""
        return WaitTimeout(
            f"Job {self.job.id} was still {self.job.state.value} after {self.timeout:g} seconds; it goes on.",
            hint=f"Take it up again: client.jobs.handle({self.job.id!r}) or `explaind jobs wait {self.job.id}`.",
            instance=self.job.links.self,
        )


def _poll(watch: FollowState) -> Flow[Job[Any]]:
    """Ask for the job again and again until it has ended."""
    pause, asked = FIRST_POLL_S, False
    while not watch.job.state.terminal:
        if asked:
            watch.check()
        yield Sleep(watch.within(pause))
        now, asked = (yield from job(watch.policy, watch.job.id, deadline=watch.deadline)), True
        yield from watch.see(now)
        pause = min(pause * POLL_GROWTH, LONGEST_POLL_S)
    return watch.job


class EventsUnavailable(Exception):
    """The events cannot be had: no such route, or something in between that holds them back."""


def _listen(watch: FollowState) -> Flow[bool]:
    """Follow the stream of events, again where it breaks off; whether the job has ended, else it is to be polled."""
    parser, retries = EventParser(), 0
    while True:
        watch.check()
        before = parser.last_id
        try:
            if (yield from _hear_out(watch, parser)):
                return True
            again = True
        except EventsUnavailable:
            again = False
        except httpx.RequestError as error:
            held_back = isinstance(error, httpx.ReadTimeout) and not parser.last_id
            again = may_pass(error) and not held_back
        yield Leave()
        watch.check()
        retries = 0 if parser.last_id != before else retries
        pause = watch.policy.pause(retries, parser.retry_s) if again else None
        if pause is None:
            return False
        yield Sleep(watch.within(pause))
        retries += 1
        parser = parser.resumed()


def _hear_out(watch: FollowState, parser: EventParser) -> Flow[bool]:
    """One connection, for as long as it holds; whether the job has ended."""
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
    if parser.last_id:
        headers["Last-Event-ID"] = parser.last_id
    query, silence = {}, SILENCE_S
    if watch.left is not None:
        query, silence = {"seconds": f"{max(watch.left, 0.001):.3f}"}, min(SILENCE_S, watch.left + LATE_S)
    request = Request("GET", f"{path_of(watch.job.id)}/events", query=query, headers=headers)
    response: httpx.Response = yield Listen(request, silence)
    if response.status_code == 204:
        return True
    if not response.is_success:
        return _refused(response)
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        raise EventsUnavailable
    while chunk := (yield Hear()):
        for told in parser.feed(chunk):
            try:
                event = event_of(watch.job, told)
            except (ValueError, KeyError, TypeError) as error:
                raise EventsUnavailable from error
            if event is None:
                continue
            if event.job.state.terminal:
                yield Leave()
                return True
            yield from watch.see(event.job)
        watch.check()
    return False


def _refused(response: httpx.Response) -> bool:
    """False where it may pass.

    Raises:
        JobNotFound: there is no such job.
        Unheard: there is no such route, or no room for another stream.
    """
    error: ExplaindError = error_of(response)
    if isinstance(error, JobNotFound):
        raise error
    if response.status_code not in RETRY_STATUSES or error.code == "too_many_streams":
        raise EventsUnavailable
    return False
