"""uvicorn HTTP/1.1 protocol with a receive timeout, a limit on heads, and problems for malformed requests."""

import asyncio
import secrets
import sys
from http import HTTPStatus
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from explaind.contract.errors import ExplaindError, HeadTooLarge, RequestError, RequestTooSlow

MAX_HEAD_BYTES = 16_384

# Both as the request context middleware writes them; malformed requests never get there.
HEADERS = [
    ("Content-Type", "application/problem+json"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
    ("Connection", "close"),
]


# A body arriving at this rate or faster is waited for longer: a large dataset takes its time.
BODY_BYTES_PER_S = 1 << 16


class BoundedHeads(h11.Connection):
    """Server side of a connection that refuses heads over `MAX_HEAD_BYTES`.

    h11 bounds a head only while it is incomplete; one that arrives whole is accepted at any size.
    """

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD_BYTES)

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """The next event.

        Raises:
            RemoteProtocolError: the input is not HTTP, or (with the hint 431) a head that is too large.
        """
        if self.their_state is not h11.IDLE:
            return super().next_event()
        before = len(self.trailing_data[0])
        event = super().next_event()
        if isinstance(event, h11.Request) and before - len(self.trailing_data[0]) > MAX_HEAD_BYTES:
            raise h11.RemoteProtocolError("the head is too large", error_status_hint=HeadTooLarge.status)
        return event


class Connection(H11Protocol):
    """uvicorn's connection, with a receive timeout and limited heads.

    uvicorn waits for ever for a request that has begun; a few thousand clients that send a byte now and then would
    take all its file descriptors.
    """

    receive_s: ClassVar[float] = 30.0

    _receiving: asyncio.TimerHandle | None = None
    _received: int = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = BoundedHeads()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts waiting for a request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Extends the wait, or ends it when the request is complete."""
        self._received += len(data)
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Waits for the rest of a request that was answered before it was complete."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancels the timeout."""
        self._stop_watching()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answers malformed HTTP with a problem, as all errors are."""
        why = sys.exc_info()[1]
        if isinstance(why, h11.RemoteProtocolError) and why.error_status_hint == HeadTooLarge.status:
            refusal: RequestError = HeadTooLarge(
                f"The head of the request is larger than {MAX_HEAD_BYTES} bytes.",
                hint="Send fewer and shorter headers, and a shorter path.",
            )
        else:
            refusal = RequestError(
                "This is not a request of HTTP/1.1.", hint="Send it through a client that keeps to RFC 9112."
            )
        self._refuse(refusal)

    def _should_upgrade(self) -> bool:
        return False  # no websockets here, and logging each attempt is of no use

    def _watch(self) -> None:
        # Between two requests uvicorn's keep-alive timeout applies.
        begun = self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None
        if not (begun or self.conn.their_state is h11.SEND_BODY):
            self._stop_watching()
        elif self._receiving is None:
            self._received = 0
            self._receiving = self.loop.call_later(self.receive_s, self._give_up)

    def _stop_watching(self) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
            self._receiving = None

    def _give_up(self) -> None:
        self._receiving = None
        if self._comes_on():
            self._watch()
            return
        silent = self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]
        if silent:
            self.transport.close()
        else:
            self._refuse(
                RequestTooSlow(
                    f"The request did not come in whole within {self.receive_s:g} s.",
                    hint="Send it again, faster; EXPLAIND_RECEIVE_S says how long the service waits.",
                )
            )

    def _comes_on(self) -> bool:
        """Whether an unanswered request's body is arriving fast enough."""
        coming = self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.SEND_RESPONSE
        return coming and self._received >= BODY_BYTES_PER_S * self.receive_s

    def _refuse(self, error: ExplaindError) -> None:
        """Sends the error, unless a response is in progress, and closes the connection."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # discards whatever the application still sends
            self.cycle.message_event.set()
        if self.transport.is_closing():
            return
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            request_id = f"req_{secrets.token_hex(12)}"
            problem = error.problem().model_copy(update={"request_id": request_id})
            body = problem.model_dump_json().encode()
            headers = [*HEADERS, ("X-Request-Id", request_id), ("Content-Length", str(len(body)))]
            for event in (
                h11.Response(status_code=problem.status, headers=headers, reason=HTTPStatus(problem.status).phrase),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def connections_that_wait(receive_s: float) -> type[Connection]:
    """The connection class with that receive timeout, in seconds."""
    return type("Connection", (Connection,), {"receive_s": receive_s})
