"""A result comes back as it was, or not at all."""

import hashlib
from dataclasses import replace

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from explaind.contract.errors import ResultLost
from explaind_jobs.results.codec import CHUNK_BYTES, decode, encode, verify

RAW = b'{"values": [0.5, 1.25]}' * 50


@given(st.binary(max_size=500))
def test_any_bytes_come_back(raw: bytes) -> None:
    encoded = encode(raw)
    stored = encoded.stored(0)
    assert encoded.digest == hashlib.sha256(raw).hexdigest()
    assert (stored.size, stored.encoded_size) == (len(raw), len(encoded.data))
    assert decode(encoded.data, stored) == raw
    verify(encoded.data, stored)


def test_more_than_one_chunk_is_verified() -> None:
    raw = b"".join(hashlib.sha256(str(i).encode()).digest() for i in range(30_000))
    encoded = encode(raw)
    assert len(encoded.data) > 2 * CHUNK_BYTES
    verify(encoded.data, encoded.stored(0))
    for cut in (CHUNK_BYTES, len(encoded.data) - 1):
        with pytest.raises(ResultLost):
            verify(encoded.data[:cut], encoded.stored(0))
    with pytest.raises(ResultLost):
        verify(encoded.data + b"x" * CHUNK_BYTES, encoded.stored(0))


def test_the_record_holds_what_is_small() -> None:
    encoded = encode(RAW)
    size = len(encoded.data)
    assert encoded.stored(size).inline == encoded.data
    assert encoded.stored(size - 1).inline is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no zstd at all",
        encode(RAW).data[:-1],
        encode(RAW).data + b"x",
        encode(RAW).data[:20] + b"\0" + encode(RAW).data[21:],
        encode(b"x" * len(RAW)).data,
        encode(RAW + b"x").data,
        # A frame that promises a terabyte.
        b"\x28\xb5\x2f\xfd\xe0" + (1 << 40).to_bytes(8, "little") + b"\x01\x00\x00",
        zstandard.ZstdCompressor().compress(b"")[:4],
    ],
)
@pytest.mark.parametrize("read", [decode, verify])
def test_other_bytes_are_refused(read, data: bytes) -> None:
    with pytest.raises(ResultLost, match="damaged"):
        read(data, encode(RAW).stored(0))


def test_another_digest_is_refused() -> None:
    encoded = encode(RAW)
    stored = replace(encoded.stored(0), digest="0" * 64)
    for read in (decode, verify):
        with pytest.raises(ResultLost):
            read(encoded.data, stored)
