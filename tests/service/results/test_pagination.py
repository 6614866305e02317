"""JSON pointers to arrays, and the parsed results that are kept for them."""

from typing import Any

import orjson
import pytest

from explaind.contract.errors import InvalidRequest
from explaind.contract.job import ResultPage
from explaind_jobs.results.codec import StoredResult, encode
from explaind_jobs.results.reader import ResultBodies
from explaind_jobs.settings import JobsSettings
from explaind_service.results.pagination import ResultPages, array_at

# Of RFC 6901, with arrays for values.
DOCUMENT: dict[str, Any] = {
    "foo": [["bar"], ["baz"]],
    "": [0],
    "a/b": [1],
    "c%d": [2],
    "e^f": [3],
    "m~n": [8],
    "~1": [9],
    "layers": [{"name": "x", "grid": [[1, 2], [3, 4]]}],
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/foo", [["bar"], ["baz"]]),
        ("/foo/0", ["bar"]),
        ("/", [0]),
        ("/a~1b", [1]),
        ("/c%d", [2]),
        ("/e^f", [3]),
        ("/m~0n", [8]),
        ("/~01", [9]),
        ("/layers/0/grid/1", [3, 4]),
    ],
)
def test_pointers(path: str, expected: list[Any]) -> None:
    assert array_at(DOCUMENT, path) == expected


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("", "no array"),
        ("foo", "slash"),
        ("#/foo", "slash"),
        ("/nothing", "the fields foo"),
        ("/foo/2", "2 items"),
        ("/foo/-", "2 items"),
        ("/foo/-1", "2 items"),
        ("/foo/00", "2 items"),
        ("/foo/+0", "2 items"),
        ("/foo/٠", "2 items"),
        (f"/foo/{'9' * 900}", "2 items"),
        ("/foo/0/0/x", "no parts"),
        ("/foo/0/0", "no array"),
        ("/layers/0/name", "no array"),
        ("/m~n", "~0"),
        ("/m~2n", "~0"),
        ("/foo/", "2 items"),
        ("/__class__", "nothing of that name"),
    ],
)
def test_pointers_to_no_array(path: str, word: str) -> None:
    with pytest.raises(InvalidRequest, match=word) as caught:
        array_at(DOCUMENT, path)
    assert [error.pointer for error in caught.value.errors] == ["/query/path"]


def test_a_result_may_be_an_array() -> None:
    assert array_at([1, 2], "") == [1, 2]


class Counted(ResultBodies):
    """Bodies that count how often they are read."""

    def __init__(self) -> None:
        super().__init__(JobsSettings())
        self.read: list[str] = []

    def raw(self, stored: StoredResult) -> bytes:
        self.read.append(stored.digest)
        return super().raw(stored)


def stored(values: list[float]) -> StoredResult:
    return encode(orjson.dumps({"values": values})).stored(1 << 20)


def test_pages_cover_the_array() -> None:
    pages, result = ResultPages(Counted()), stored([float(i) for i in range(25)])
    found = [ResultPage.model_validate_json(pages.page(result, "/values", offset, 10)) for offset in (0, 10, 20, 30)]
    assert [value for page in found for value in page.data] == [float(i) for i in range(25)]
    assert [page.has_more for page in found] == [True, True, False, False]
    assert {(page.total, page.limit, page.path) for page in found} == {(25, 10, "/values")}
    last = ResultPage.model_validate_json(pages.page(result, "/values", 15, 10))  # ends where the array does
    assert (last.data[-1], last.has_more) == (24.0, False)


def test_numbers_are_the_same_numbers() -> None:
    values = [0.1 + 0.2, 1e-320, 1.7976931348623157e308, -0.0, 2**53 - 1, 12345678901234567890]
    page = ResultPages(Counted()).page(stored(values), "/values", 0, 10)
    assert orjson.loads(page)["data"] == values


def test_what_was_parsed_last_is_kept_within_bounds() -> None:
    bodies = Counted()
    results = [stored([float(i)] * 100) for i in range(3)]
    pages = ResultPages(bodies, most_bytes=2 * results[0].size)
    for result in (results[0], results[1], results[0], results[2], results[0]):
        pages.page(result, "/values", 0, 1)
    assert bodies.read == [result.digest for result in results]
    assert pages.held_bytes == 2 * results[0].size
    pages.page(results[1], "/values", 0, 1)
    assert bodies.read[-1] == results[1].digest


def test_a_result_beyond_the_bound_is_not_kept() -> None:
    pages, large = ResultPages(Counted(), most_bytes=100), stored([1.0] * 1000)
    assert orjson.loads(pages.page(large, "/values", 999, 10))["data"] == [1.0]
    assert pages.held_bytes == 0
