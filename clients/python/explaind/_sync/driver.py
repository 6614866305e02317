# Generated from clients/python/explaind/_async/driver.py by `make generate`.
"""Driver of flows for the sync client: sends over httpx, sleeps, reads event streams, reports events."""

from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any, TypeVar

import httpx

from explaind._sync.concurrency import SleepFunction, report_progress, sleep
from explaind.protocol.config import http_request
from explaind.protocol.events import JobEvent
from explaind.protocol.exchange import (
    CloseStream,
    Effect,
    Flow,
    FlowRun,
    OnProgress,
    OpenStream,
    Policy,
    ReadChunk,
    Report,
    Send,
    Sleep,
)

T = TypeVar("T")


class FlowDriver:
    """Runs flows: sends over httpx, sleeps, reports events."""

    def __init__(self, http: httpx.Client, policy: Policy, sleep: SleepFunction = sleep) -> None:
        self.http = http
        self.policy = policy
        self.sleep = sleep

    def run(self, flow: Flow[T], on_progress: OnProgress | None = None) -> T:
        """Runs a flow to its end, returns what it returns and raises what it raises.

        Args:
            flow: the operation.
            on_progress: called with the job at each event that the flow reports.
        """
        run = FlowRun(flow)
        with closing(self.events(run)) as events:
            for event in events:
                report_progress(on_progress, event.job)
        return run.value

    def events(self, run: FlowRun[Any]) -> Generator[JobEvent, None, None]:
        """Runs a flow to its end and yields the events that it reports; closing the generator closes its stream."""
        connection = EventConnection(self.http)
        try:
            effect = run.begin()
            while effect is not None:
                if isinstance(effect, Report):
                    yield effect.event
                    effect = run.send(None)
                    continue
                try:
                    outcome = self._perform(effect, connection)
                except httpx.RequestError as error:
                    effect = run.throw(error)
                else:
                    effect = run.send(outcome)
        finally:
            connection.close()

    def _perform(self, effect: Effect, connection: "EventConnection") -> httpx.Response | bytes | None:
        match effect:
            case Send(request):
                return self.http.send(http_request(self.http, request))
            case Sleep(seconds):
                self.sleep(seconds)
            case OpenStream():
                return connection.open(effect)
            case ReadChunk():
                return connection.read()
            case CloseStream():
                connection.close()
        return None


class EventConnection:
    """The one response that a flow streams from."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes] | None = None

    def open(self, effect: OpenStream) -> httpx.Response:
        """Sends the request and returns the response; the body of an unsuccessful one is read whole."""
        self.close()
        request = http_request(self._http, effect.request, silence_s=effect.silence_s)
        self._response = response = self._http.send(request, stream=True)
        if not response.is_success:
            response.read()
        self._chunks = response.iter_bytes()
        return response

    def read(self) -> bytes:
        """The next bytes; empty at the end of the stream."""
        return b"" if self._chunks is None else next(self._chunks, b"")

    def close(self) -> None:
        """Closes the stream, if one is open."""
        response, self._response, self._chunks = self._response, None, None
        if response is not None:
            response.close()
