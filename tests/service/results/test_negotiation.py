"""What headers ask for."""

import pytest

from explaind.contract.errors import RangeNotSatisfiable
from explaind_service.results.negotiation import (
    Encoding,
    asked_range,
    chosen_encoding,
    entity_tag,
    is_known,
    refuses_identity,
)

TAG = '"abc"'


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        (None, "identity"),
        ("", "identity"),
        ("identity", "identity"),
        ("br", "identity"),
        ("zstd", "zstd"),
        ("ZSTD", "zstd"),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate, br", "gzip"),
        ("*", "zstd"),
        ("*;q=0", "identity"),
        ("gzip;q=1.0, zstd;q=0.5", "gzip"),
        ("gzip;q=0.5, zstd;q=0.5", "zstd"),
        ("zstd;q=0, *", "gzip"),
        ("zstd;q=0, gzip;q=0, *", "identity"),
        ("gzip;q=0.3, identity;q=0.9", "identity"),
        ("gzip;q=0.9, identity;q=0.3", "gzip"),
        ("zstd ; Q = 0.001", "zstd"),
        ("zstd;q=0.000", "identity"),
        ("zstd;q=2", "identity"),
        ("zstd;level=3", "identity"),
        ("zstd;q=nan, gzip", "gzip"),
        (",,;;,", "identity"),
    ],
)
def test_encoding(accepted: str | None, expected: str) -> None:
    assert chosen_encoding(accepted) == expected


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [(None, False), ("zstd", False), ("identity;q=0", True), ("*;q=0", True), ("*;q=0, identity", False)],
)
def test_identity_can_be_refused(accepted: str | None, expected: bool) -> None:
    assert refuses_identity(accepted) is expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-0", (0, 0)),
        ("bytes=2-5", (2, 5)),
        ("bytes=2-", (2, 9)),
        ("bytes=2-99", (2, 9)),
        ("bytes=-3", (7, 9)),
        ("bytes=-99", (0, 9)),
        ("Bytes = 1 - 2 ", (1, 2)),
        ("bytes=5-2", None),
        ("bytes=-", None),
        ("bytes=", None),
        ("bytes=a-b", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=٠-١", None),
        (f"bytes={'9' * 5000}-", None),
    ],
)
def test_range(header: str | None, expected: tuple[int, int] | None) -> None:
    found = asked_range(header, None, TAG, 10)
    assert (found and (found.first, found.last)) == expected
    if found:
        assert found.content_range == f"bytes {found.first}-{found.last}/10"


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=10-11", 10), ("bytes=-0", 10)])
def test_range_beyond_the_end(header: str, size: int) -> None:
    with pytest.raises(RangeNotSatisfiable, match="begins beyond"):
        asked_range(header, None, TAG, size)


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=-1"])
def test_range_of_nothing(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable, match="empty"):
        asked_range(header, None, TAG, 0)


@pytest.mark.parametrize(
    ("if_range", "applies"),
    [(TAG, True), ('"abd"', False), ('W/"abc"', False), ("Mon, 01 Jan 2024 00:00:00 GMT", False)],
)
def test_if_range(if_range: str, applies: bool) -> None:
    assert (asked_range("bytes=0-1", if_range, TAG, 10) is not None) is applies


@pytest.mark.parametrize(
    ("if_none_match", "expected"),
    [(None, False), (TAG, True), ("*", True), ('"x", W/"abc"', True), ('"abc-zstd"', False), ("abc", False)],
)
def test_if_none_match(if_none_match: str | None, expected: bool) -> None:
    assert is_known(if_none_match, TAG) is expected


def test_each_encoding_has_a_tag_of_its_own() -> None:
    assert [entity_tag("d", each) for each in Encoding] == ['"d-zstd"', '"d-gzip"', '"d"']
