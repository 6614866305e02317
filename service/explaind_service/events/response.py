"""Response of `GET /jobs/{id}/events`, and the limit on open streams."""

import contextlib
import logging
from collections.abc import Callable, Iterator

from anyio import create_task_group
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from explaind.contract.errors import TooManyStreams
from explaind_service.events.event_stream import EventStreamWriter, StreamStart
from explaind_service.events.hub import Hub

logger = logging.getLogger(__name__)

BUSY_RETRY_S = 5.0


class Streams:
    """Open event streams of a process, up to a limit."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.open = 0

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Occupies one stream slot.

        Raises:
            TooManyStreams: all are taken.
        """
        if self.open >= self._most:
            raise TooManyStreams(
                f"{self._most} clients follow jobs already, and no more are taken.",
                hint="Try again later, or ask for the job itself: GET /jobs/{id}?wait=30.",
                retry_after=BUSY_RETRY_S,
            )
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1


class EventStream(Response):
    """Runs an event stream writer until it is done, the client disconnects, or it is cut off for not reading."""

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, streams: Streams, beginning: StreamStart, teller: EventStreamWriter) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._hub = hub
        self._streams = streams
        self._beginning = beginning
        self._teller = teller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the stream.

        Raises:
            TooManyStreams: all slots are taken.
        """
        job, last = self._beginning.job, self._beginning.last

        async def send_on(frames: bytes) -> None:
            await send({"type": "http.response.body", "body": frames, "more_body": True})

        with self._streams.place(), self._hub.subscribe(job.id, last) as heard:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async with create_task_group() as group:
                heard.on_cut = stop = group.cancel_scope.cancel
                group.start_soon(_until_gone, receive, stop)
                await self._teller.tell(heard, send_on)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                stop()
        if heard.cut:
            # Data in flight to this client is stuck, so no farewell can be sent: the server drops the connection.
            logger.warning("A client that did not read the events of %s was cut off.", job.id)


async def _until_gone(receive: Receive, stop: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    stop()
