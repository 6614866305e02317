"""Parser of server-sent events from bytes, by the HTML standard; no I/O."""

import codecs
from dataclasses import dataclass


@dataclass(frozen=True)
class ServerSentEvent:
    """One event: its type, its data, and the last event id so far ("" if there was none)."""

    type: str
    data: str
    id: str


class EventParser:
    """Parses a stream in chunks of any size, and returns the completed events.

    `last_id` is where a reconnect resumes, `retry_s` the server's reconnection time in seconds.
    """

    def __init__(self) -> None:
        self.last_id = ""
        self.retry_s: float | None = None
        self._lines = LineSplitter()
        self._type = ""
        self._data: list[str] = []
        self._id = ""

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that end in this chunk."""
        events = (self._take(line) for line in self._lines.feed(chunk))
        return [event for event in events if event is not None]

    def resumed(self) -> "EventParser":
        """A parser for the next connection, which continues after `last_id`."""
        fresh = EventParser()
        fresh.last_id = fresh._id = self.last_id
        return fresh

    def _take(self, line: str) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._type = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_s = int(value[:12]) / 1000
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        self.last_id = self._id
        event = ServerSentEvent(self._type or "message", "\n".join(self._data), self._id) if self._data else None
        self._type, self._data = "", []
        return event


class LineSplitter:
    """Splits chunks of any size into UTF-8 lines that end in LF, CR or CRLF; drops a byte order mark."""

    def __init__(self) -> None:
        self._begun = b""
        self._after_cr = False
        self._first = True

    def feed(self, chunk: bytes) -> list[str]:
        """The lines that end in this chunk. A CR at its end completes a line, whatever follows."""
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if not chunk:
            return []
        self._after_cr = chunk.endswith(b"\r")
        whole = self._begun + chunk
        *lines, self._begun = whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        if lines and self._first:
            self._first = False
            lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
        return [line.decode(errors="replace") for line in lines]
