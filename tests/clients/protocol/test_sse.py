"""Server-sent events as the HTML standard says, however the bytes are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explaind.protocol.sse import EventParser, ServerSentEvent


def reference(stream: bytes) -> tuple[list[tuple[str, str, str]], str, float | None]:
    """The standard's own steps, one after the other, over the whole stream."""
    text = stream.decode("utf-8", errors="replace").removeprefix("\ufeff")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]
    events, last_id, retry = [], "", None
    kind, data, id_buffer = "", "", ""
    for line in lines:
        if line == "":
            last_id = id_buffer
            if data != "":
                events.append((kind or "message", data[:-1], last_id))
            kind = data = ""
        elif line.startswith(":"):
            pass
        else:
            name, colon, value = line.partition(":")
            if colon and value.startswith(" "):
                value = value[1:]
            if name == "event":
                kind = value
            elif name == "data":
                data += value + "\n"
            elif name == "id" and "\0" not in value:
                id_buffer = value
            elif name == "retry" and value and all(c in "0123456789" for c in value):
                retry = int(value[:12]) / 1000
    return events, last_id, retry


PIECES = st.sampled_from(
    [
        *(b"\n", b"\r", b"\r\n", b":", b" ", b"data", b"data: x", b"data:", b"event: progress", b"event:", b"id: 7-0"),
        *(b"id", b"id: a\0b", b"retry: 1500", b"retry: x", b"retry: 1.5", b": ping", b"datas: y", b"data : z", b"\0"),
        *(b"\xef\xbb\xbf", "é€😀".encode(), b"\xff", b"\xe2\x82", "\u2028\u0085\x0b".encode()),
    ]
)


@given(st.lists(PIECES, max_size=40).map(b"".join), st.data())
def test_the_same_events_however_the_stream_is_cut(stream: bytes, data) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    parser = EventParser()
    found: list[ServerSentEvent] = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += parser.feed(stream[begin:end])
    events, last_id, retry = reference(stream)
    assert [(event.type, event.data, event.id) for event in found] == events
    assert (parser.last_id, parser.retry_s) == (last_id, retry)


@given(st.lists(PIECES, max_size=20).map(b"".join))
def test_byte_by_byte(stream: bytes) -> None:
    parser = EventParser()
    found = [event for byte in stream for event in parser.feed(bytes([byte]))]
    assert [(event.type, event.data, event.id) for event in found] == reference(stream)[0]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_an_event_is_given_as_soon_as_it_is_whole(end: bytes) -> None:
    parser = EventParser()
    assert parser.feed(b"id: 1" + end + b"event: state" + end + b"data: a" + end + b"data:  b" + end) == []
    assert parser.feed(end) == [ServerSentEvent("state", "a\n b", "1")]


def test_a_line_end_of_two_bytes_may_be_cut_in_between() -> None:
    parser = EventParser()
    assert parser.feed(b"data: a\r") == []
    assert parser.feed(b"\ndata: b\r\n\r\n") == [ServerSentEvent("message", "a\nb", "")]


def test_what_is_not_whole_at_the_end_is_no_event() -> None:
    parser = EventParser()
    assert parser.feed(b"id: 1\ndata: a\n\nid: 2\ndata: b\n") == [ServerSentEvent("message", "a", "1")]
    assert parser.last_id == "1", "going on after 2 would skip it"


def test_the_next_connection_goes_on_where_this_one_broke_off() -> None:
    parser = EventParser()
    parser.feed(b"id: 1\ndata: a\n\ndata: half")
    resumed = parser.resumed()
    assert resumed.feed(b"data: b\n\n") == [ServerSentEvent("message", "b", "1")]
