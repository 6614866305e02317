"""Storage format of a result: zstd of its JSON bytes, identified by the SHA-256 of the JSON."""

import hashlib
from dataclasses import dataclass

import zstandard

from explaind.contract.errors import ResultLost

LEVEL = 3
CHUNK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A job record's reference to its result: `size` is that of the JSON, `encoded_size` that of the zstd.

    `inline` is the zstd itself if the record holds it; None if the blob store does.
    """

    digest: str
    size: int
    encoded_size: int
    inline: bytes | None


@dataclass(frozen=True, slots=True)
class EncodedResult:
    """A result ready to be stored: `data` is zstd, `digest` and `size` are those of the JSON."""

    digest: str
    size: int
    data: bytes

    def stored(self, most_inline: int) -> StoredResult:
        """The reference to it; contains the bytes if there are at most `most_inline`."""
        inline = self.data if len(self.data) <= most_inline else None
        return StoredResult(self.digest, self.size, len(self.data), inline)


def encode(raw: bytes) -> EncodedResult:
    """Encode a result's JSON for storage."""
    data = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(raw)
    return EncodedResult(hashlib.sha256(raw).hexdigest(), len(raw), data)


def decode(data: bytes, stored: StoredResult) -> bytes:
    """The JSON of a stored result.

    Raises:
        ResultLost: these bytes are not the result that was stored.
    """
    try:
        # The size first: it is the frame header that decides how much memory is allocated.
        if zstandard.frame_content_size(data) != stored.size:
            raise damaged()
        raw = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise damaged() from error
    if hashlib.sha256(raw).hexdigest() != stored.digest:
        raise damaged()
    return raw


def verify(data: bytes, stored: StoredResult) -> None:
    """Checks the bytes of a stored result without decompressing its JSON as a whole into memory.

    Raises:
        ResultLost: these bytes are not the result that was stored.
    """
    seen, size = hashlib.sha256(), 0
    frame = zstandard.ZstdDecompressor().decompressobj()
    view = memoryview(data)
    try:
        for start in range(0, len(data), CHUNK_BYTES):
            if frame.eof:
                raise damaged()
            part = frame.decompress(view[start : start + CHUNK_BYTES])
            seen.update(part)
            size += len(part)
            if size > stored.size:
                raise damaged()
    except zstandard.ZstdError as error:
        raise damaged() from error
    if not frame.eof or frame.unused_data or seen.hexdigest() != stored.digest:
        raise damaged()


def damaged() -> ResultLost:
    """The error for bytes that differ from those stored."""
    return ResultLost(
        "The stored result of this job is damaged: its bytes are not those that were computed.",
        hint="Submit the job again. Whoever runs the service should look at the result store's disk.",
    )


def missing() -> ResultLost:
    """The error for a missing result."""
    return ResultLost(
        "The stored result of this job is no longer in the result store.",
        hint="Submit the job again. If every large result is missing, the service and its workers do not share "
        "one store: give both the same EXPLAIND_RESULTS_URL.",
    )
