"""The store of large results and of files: blobs by their names, each kind in a place of its own, in a directory or in
a bucket."""

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
    """Where blobs of one kind are: `folder` below the data directory, `below` a store of one's own; and what is said
    of one that is not there any more.
    """

    folder: str
    below: str
    ending: str
    lost: Callable[[], ExplaindError]


WHERE = "where EXPLAIND_RESULTS_URL leads, else in EXPLAIND_DATA_DIR"
# What is said of an error of the system, and what is to be done.
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
    """Keeps blobs by the digest of their content. Whole blobs only: none is ever seen half written."""

    def write(self, digest: str, data: bytes | mmap) -> None:
        """Keep a blob, durably when this returns; one that is there is replaced. Raises StoreUnavailable."""
        ...

    def read(self, digest: str) -> bytes:
        """The bytes of a blob. Raises what its place says when there is none (a result: ResultLost), StoreUnavailable
        when nobody can tell.
        """
        ...

    def remove(self, digest: str) -> None:
        """Forget a blob; one that is not there is forgotten already. Raises StoreUnavailable."""
        ...

    def tidy(self, older_than_s: float) -> int:
        """Remove what interrupted writes left behind; returns how much it was. Raises StoreUnavailable."""
        ...


def name_of(digest: str, place: BlobKind = RESULTS) -> str:
    """The path of a blob below its store's root.

    Raises:
        ResultLost: this is no digest; no path is ever made of anything else. Of another place what that says.
    """
    if not DIGEST.fullmatch(digest):
        raise place.lost()
    return f"{digest[:2]}/{digest[2:4]}/{digest}{place.ending}"


@contextmanager
def unavailable(what: str) -> Iterator[None]:
    """Turns whatever a blob store fails with into StoreUnavailable."""
    try:
        yield
    except ExplaindError:
        raise
    except Exception as error:  # every library behind a bucket has errors of its own
        number = error.errno or 0 if isinstance(error, OSError) else 0
        word, remedy = PLACES_THAT_REFUSE.get(number, ("", "look at EXPLAIND_RESULTS_URL and its rights"))
        raise StoreUnavailable(
            f"The result store cannot be {what} ({errno.errorcode.get(number, type(error).__name__)}){word}.",
            hint=f"Try again in a moment. Whoever runs the service should {remedy}.",
            retry_after=2.0,
        ) from error
