"""Pagination of arrays inside a result (JSON pointer, offset, limit), for large grids."""

import re
import threading
from collections import OrderedDict
from typing import Any

import orjson

from explaind.contract.errors import InvalidRequest
from explaind_jobs.results.codec import StoredResult
from explaind_jobs.results.reader import ResultBodies

PARSED_BYTES = 64 * 1024 * 1024

_INDEX = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)


class ResultPages:
    """Extracts pages from results. Parsed results are cached by digest, up to a number of bytes of JSON."""

    def __init__(self, bodies: ResultBodies, most_bytes: int = PARSED_BYTES) -> None:
        self._bodies = bodies
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._parsed: OrderedDict[str, tuple[int, Any]] = OrderedDict()

    def page(self, stored: StoredResult, path: str, offset: int, limit: int) -> bytes:
        """A ResultPage as JSON. Blocks: call it in a thread.

        Raises:
            InvalidRequest: `path` is not a JSON pointer to an array of the result.
            ResultLost, StoreUnavailable: the result cannot be read.
        """
        array = array_at(self._value(stored), path)
        page = {
            "path": path,
            "offset": offset,
            "limit": limit,
            "total": len(array),
            "has_more": offset + limit < len(array),
            "data": array[offset : offset + limit],
        }
        return orjson.dumps(page)

    @property
    def held_bytes(self) -> int:
        """Size of the cached results, in bytes of JSON."""
        with self._lock:
            return sum(size for size, _ in self._parsed.values())

    def _value(self, stored: StoredResult) -> Any:
        with self._lock:
            if stored.digest in self._parsed:
                self._parsed.move_to_end(stored.digest)
                return self._parsed[stored.digest][1]
        value = orjson.loads(self._bodies.raw(stored))
        with self._lock:
            self._parsed[stored.digest] = (stored.size, value)
            self._parsed.move_to_end(stored.digest)
            while sum(size for size, _ in self._parsed.values()) > self._most_bytes:
                self._parsed.popitem(last=False)
        return value


def array_at(value: Any, path: str) -> list[Any]:
    """The array that a JSON pointer (RFC 6901) names.

    Raises:
        InvalidRequest: it names no array.
    """
    if path and not path.startswith("/"):
        raise _wrong("This must be a JSON pointer: empty, or beginning with a slash.")
    found = value
    for depth, escaped in enumerate(path.split("/")[1:]):
        if "~" in escaped.replace("~0", "").replace("~1", ""):
            raise _wrong("A ~ in a JSON pointer is written ~0, a slash ~1.")
        key = escaped.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and (index := _index(key)) is not None and index < len(found):
            found = found[index]
        else:
            where = "/".join(path.split("/")[: depth + 1])
            raise _wrong(f"There is nothing of that name: {where or 'the result'!r} has {_parts(found)}.")
    if not isinstance(found, list):
        raise _wrong(f"This is no array; it has {_parts(found)}.")
    return found


def _index(key: str) -> int | None:
    return int(key) if _INDEX.fullmatch(key) else None


def _parts(value: Any) -> str:
    match value:
        case dict():
            names = [name[:40] for name in list(value)[:20]]
            return f"the fields {', '.join(names)}" if names else "no fields"
        case list():
            return f"{len(value)} items"
        case _:
            return "no parts"


def _wrong(detail: str) -> InvalidRequest:
    return InvalidRequest.at(
        "/query/path", detail, hint="Name an array of the result, for example path=/values_by_target."
    )
