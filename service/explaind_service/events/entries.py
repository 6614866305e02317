"""The entries of a job's stream in the store, and their places in it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fastapi.sse import format_sse_event

StreamId = tuple[int, int]

END = "end"
START: StreamId = (0, 0)
MAX_PART = 2**64 - 1

_ID = re.compile(r"([0-9]{1,20})-([0-9]{1,20})", re.ASCII)


def place_of(event_id: str) -> StreamId | None:
    """Where in a stream the entry of that id is; None when no entry can have it."""
    found = _ID.fullmatch(event_id)
    if found is None:
        return None
    place = int(found[1]), int(found[2])
    return place if max(place) <= MAX_PART else None


def id_of(place: StreamId) -> str:
    """The id of the entry at that place."""
    return f"{place[0]}-{place[1]}"


@dataclass(frozen=True)
class Event:
    """One entry: what happened (`state`, `progress` or `end`), and its data as JSON."""

    place: StreamId
    kind: str
    data: str

    @cached_property
    def frame(self) -> bytes:
        """The event as it is sent; written once, however many clients there are."""
        return format_sse_event(event=self.kind, data_str=self.data, id=id_of(self.place))


def events_of(entries: Iterable[Any] | None) -> list[Event]:
    """The entries of one stream as Redis answers them, the oldest first."""
    entries = entries or ()
    return [event for entry in entries if (event := _event_of(*entry)) is not None]


def _event_of(entry_id: bytes, fields: Mapping[bytes, bytes]) -> Event | None:
    place = place_of(entry_id.decode())
    if place is None:
        return None
    return Event(place, _text(fields, b"event"), _text(fields, b"data"))


def _text(fields: Mapping[bytes, Any], name: bytes) -> str:
    return fields.get(name, b"").decode(errors="replace")
