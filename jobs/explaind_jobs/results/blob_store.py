"""Blob store interface for large results and for files: blobs by name, one area per kind, in a directory or in a
bucket.
"""

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import mmap
from typing import Protocol

from explaind.contract.errors import ExplaindError, StoreUnavailable
from explaind_jobs.results.codec import missing

DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class BlobKind:
    """A kind of blob: `folder` below the data directory, `below` the root of an external store; and the error for a
    missing blob.
    """

    folder: str
    below: str
    ending: str
    lost: Callable[[], ExplaindError]


WHERE = "where EXPLAIND_RESULTS_URL leads, else in EXPLAIND_DATA_DIR"
# Causes and remedies of system errors.
PLACES_THAT_REFUSE = {
    errno.ENOSPC: (": its disk is full", f"free space {WHERE}"),
    errno.EDQUOT: (": its disk quota is used up", f"free space, or raise the quota, {WHERE}"),
    errno.EFBIG: (": a file may not be as large", f"raise the limit on the size of files (ulimit -f) {WHERE}"),
    errno.EROFS: (": its disk is read-only", f"make the disk writable {WHERE}"),
    errno.EIO: (": its disk is broken", f"look at the disk {WHERE}"),
    errno.EMFILE: (": too many files are open", "raise the limit on open files (ulimit -n)"),
}

RESULTS = BlobKind(folder="results", below="", ending=".json.zst", lost=missing)


class BlobStore(Protocol):
    """Stores blobs under the digest of their content. Writes are atomic: no blob is ever seen half written."""

    def write(self, digest: str, data: bytes | mmap) -> None:
        """Store a blob, durably when this returns; an existing one is replaced. Raises StoreUnavailable."""
        ...

    def read(self, digest: str) -> bytes:
        """The bytes of a blob. Raises its kind's error if it does not exist (a result: ResultLost), StoreUnavailable if
        that cannot be determined.
        """
        ...

    def remove(self, digest: str) -> None:
        """Remove a blob; idempotent. Raises StoreUnavailable."""
        ...

    def tidy(self, older_than_s: float) -> int:
        """Remove leftovers of interrupted writes; returns their number. Raises StoreUnavailable."""
        ...


def name_of(digest: str, place: BlobKind = RESULTS) -> str:
    """The path of a blob below its store's root.

    Raises:
        ResultLost: this is not a digest, and paths are made of digests only. Another kind's own error for its blobs.
    """
    if not DIGEST.fullmatch(digest):
        raise place.lost()
    return f"{digest[:2]}/{digest[2:4]}/{digest}{place.ending}"


@contextmanager
def unavailable(what: str) -> Iterator[None]:
    """Turns any error of a blob store into StoreUnavailable."""
    try:
        yield
    except ExplaindError:
        raise
    except Exception as error:  # each library behind a bucket has its own errors
        number = error.errno or 0 if isinstance(error, OSError) else 0
        word, remedy = PLACES_THAT_REFUSE.get(number, ("", "look at EXPLAIND_RESULTS_URL and its rights"))
        raise StoreUnavailable(
            f"The result store cannot be {what} ({errno.errorcode.get(number, type(error).__name__)}){word}.",
            hint=f"Try again in a moment. Whoever runs the service should {remedy}.",
            retry_after=2.0,
        ) from error
