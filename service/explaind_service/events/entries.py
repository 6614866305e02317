"""Entries of a job's Redis stream, and their ids."""

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
    """The parsed stream id; None for an invalid one."""
    found = _ID.fullmatch(event_id)
    if found is None:
        return None
    place = int(found[1]), int(found[2])
    return place if max(place) <= MAX_PART else None


def id_of(place: StreamId) -> str:
    """The entry's id as text."""
    return f"{place[0]}-{place[1]}"


@dataclass(frozen=True)
class Event:
    """One stream entry: its type (`state`, `progress` or `end`), and its data as JSON."""

    place: StreamId
    kind: str
    data: str

    @cached_property
    def frame(self) -> bytes:
        """The event as an SSE frame; built once, however many clients there are."""
        return format_sse_event(event=self.kind, data_str=self.data, id=id_of(self.place))


def events_of(entries: Iterable[Any] | None) -> list[Event]:
    """The entries of one stream in a reply of Redis, oldest first."""
    entries = entries or ()
    return [event for entry in entries if (event := _event_of(*entry)) is not None]


def _event_of(entry_id: bytes, fields: Mapping[bytes, bytes]) -> Event | None:
    place = place_of(entry_id.decode())
    if place is None:
        return None
    return Event(place, _text(fields, b"event"), _text(fields, b"data"))


def _text(fields: Mapping[bytes, Any], name: bytes) -> str:
    return fields.get(name, b"").decode(errors="replace")
