"""Driver of flows for the async client: sends over httpx, sleeps, reads event streams, reports events."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, TypeVar

import httpx

from explaind._async.concurrency import SleepFunction, report_progress, sleep
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


class AsyncFlowDriver:
    """Runs flows: sends over httpx, sleeps, reports events."""

    def __init__(self, http: httpx.AsyncClient, policy: Policy, sleep: SleepFunction = sleep) -> None:
        self.http = http
        self.policy = policy
        self.sleep = sleep

    async def run(self, flow: Flow[T], on_progress: OnProgress | None = None) -> T:
        """Runs a flow to its end, returns what it returns and raises what it raises.

        Args:
            flow: the operation.
            on_progress: called with the job at each event that the flow reports.
        """
        run = FlowRun(flow)
        async with aclosing(self.events(run)) as events:
            async for event in events:
                await report_progress(on_progress, event.job)
        return run.value

    async def events(self, run: FlowRun[Any]) -> AsyncGenerator[JobEvent, None]:
        """Runs a flow to its end and yields the events that it reports; closing the generator closes its stream."""
        connection = AsyncEventConnection(self.http)
        try:
            effect = run.begin()
            while effect is not None:
                if isinstance(effect, Report):
                    yield effect.event
                    effect = run.send(None)
                    continue
                try:
                    outcome = await self._perform(effect, connection)
                except httpx.RequestError as error:
                    effect = run.throw(error)
                else:
                    effect = run.send(outcome)
        finally:
            await connection.close()

    async def _perform(self, effect: Effect, connection: "AsyncEventConnection") -> httpx.Response | bytes | None:
        match effect:
            case Send(request):
                return await self.http.send(http_request(self.http, request))
            case Sleep(seconds):
                await self.sleep(seconds)
            case OpenStream():
                return await connection.open(effect)
            case ReadChunk():
                return await connection.read()
            case CloseStream():
                await connection.close()
        return None


class AsyncEventConnection:
    """The one response that a flow streams from."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes] | None = None

    async def open(self, effect: OpenStream) -> httpx.Response:
        """Sends the request and returns the response; the body of an unsuccessful one is read whole."""
        await self.close()
        request = http_request(self._http, effect.request, silence_s=effect.silence_s)
        self._response = response = await self._http.send(request, stream=True)
        if not response.is_success:
            await response.aread()
        self._chunks = response.aiter_bytes()
        return response

    async def read(self) -> bytes:
        """The next bytes; empty at the end of the stream."""
        return b"" if self._chunks is None else await anext(self._chunks, b"")

    async def close(self) -> None:
        """Closes the stream, if one is open."""
        response, self._response, self._chunks = self._response, None, None
        if response is not None:
            await response.aclose()
