"""Content negotiation for stored bytes: encodings, entity tags, ranges. Pure functions of headers."""

import re
from dataclasses import dataclass
from enum import StrEnum

from explaind.contract.errors import RangeNotSatisfiable

_QUALITY = re.compile(r"\s*q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*", re.ASCII | re.IGNORECASE)
_RANGE = re.compile(r"\s*bytes\s*=\s*([0-9]{0,19})\s*-\s*([0-9]{0,19})\s*", re.ASCII | re.IGNORECASE)
_TAG = re.compile(r'(?:W/)?("[^"]*")')


class Encoding(StrEnum):
    """A Content-Encoding of results, in order of the service's preference."""

    ZSTD = "zstd"
    GZIP = "gzip"
    IDENTITY = "identity"


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes `first` to `last`, both included, of `size`."""

    first: int
    last: int
    size: int

    @property
    def content_range(self) -> str:
        """The value of Content-Range."""
        return f"bytes {self.first}-{self.last}/{self.size}"


def chosen_encoding(accept_encoding: str | None) -> Encoding:
    """The encoding for this Accept-Encoding: among those with the highest quality, the service's preferred one.

    Identity if the header is missing or accepts none of them.
    """
    liked = _qualities(accept_encoding or "")
    rest = liked.get("*", 0.0)
    compressed = {each: liked.get(each, rest) for each in (Encoding.ZSTD, Encoding.GZIP)}
    best = max(compressed, key=lambda each: compressed[each])
    if compressed[best] <= 0 or liked.get(Encoding.IDENTITY, 0.0) > compressed[best]:
        return Encoding.IDENTITY
    return best


def refuses_identity(accept_encoding: str | None) -> bool:
    """Whether the caller refuses unencoded bytes."""
    liked = _qualities(accept_encoding or "")
    return liked.get(Encoding.IDENTITY, liked.get("*", 1.0)) <= 0


def entity_tag(digest: str, encoding: Encoding) -> str:
    """The strong entity tag of that content in that encoding."""
    return f'"{digest}"' if encoding is Encoding.IDENTITY else f'"{digest}-{encoding}"'


def is_known(if_none_match: str | None, tag: str) -> bool:
    """Whether If-None-Match contains the tag."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or tag in _TAG.findall(if_none_match)


def asked_range(header: str | None, if_range: str | None, tag: str, size: int) -> ByteRange | None:
    """The range requested by these headers; None to send everything: no range, several, or If-Range fails.

    Raises:
        RangeNotSatisfiable: it begins beyond the end.
    """
    if header is None or (if_range is not None and if_range.strip() != tag):
        return None
    match = _RANGE.fullmatch(header)
    if match is None or match[1] == match[2] == "":
        return None
    first, last = match[1], match[2]
    if first and last and int(last) < int(first):
        return None
    if first:
        found = ByteRange(int(first), min(int(last or size), size - 1), size)
    else:
        found = ByteRange(max(size - int(last), 0), size - 1, size)
    if found.first >= size:
        raise RangeNotSatisfiable(
            f"The result has {size} bytes, and the range begins beyond them.",
            hint=f"Ask for bytes from 0 to {size - 1}, or leave Range out." if size else "The result is empty.",
        )
    return found


def _qualities(accept_encoding: str) -> dict[str, float]:
    liked: dict[str, float] = {}
    for part in accept_encoding.split(","):
        coding, _, weight = part.partition(";")
        quality = _QUALITY.fullmatch(weight) if weight else None
        if weight and quality is None:
            continue
        name = coding.strip().lower()
        liked["gzip" if name == "x-gzip" else name] = float(quality[1]) if quality else 1.0
    return liked
