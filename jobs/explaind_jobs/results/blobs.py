"""The store of large results: blobs named by their content, in a directory or in a bucket."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

from explaind.contract.errors import ExplaindError, StoreUnavailable
from explaind_jobs.results.codec import missing
from explaind_jobs.settings import JobsSettings

DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
FOLDER = "results"


class BlobStore(Protocol):
    """Keeps blobs by the digest of their content. Whole blobs only: none is ever seen half written."""

    def write(self, digest: str, data: bytes) -> None:
        """Keep a blob, durably when this returns; one that is there is replaced. Raises StoreUnavailable."""
        ...

    def read(self, digest: str) -> bytes:
        """The bytes of a blob. Raises ResultLost when there is none, StoreUnavailable when nobody can tell."""
        ...

    def remove(self, digest: str) -> None:
        """Forget a blob; one that is not there is forgotten already. Raises StoreUnavailable."""
        ...

    def tidy(self, older_than_s: float) -> int:
        """Remove what interrupted writes left behind; returns how much it was. Raises StoreUnavailable."""
        ...


def open_blobs(settings: JobsSettings) -> BlobStore:
    """The blob store of these settings; nothing is touched until it is used.

    Raises:
        StoreUnavailable: the store's library refuses its options.
    """
    # Here, so that nobody imports what the store in use does not need.
    if settings.results_url is None or settings.results_url.startswith("file://"):
        from explaind_jobs.results.directory import DirectoryBlobs  # noqa: PLC0415

        return DirectoryBlobs(_folder(settings))
    from explaind_jobs.results.bucket import BucketBlobs  # noqa: PLC0415

    with unavailable("opened"):
        return BucketBlobs(settings.results_url, settings.results_options)


def name_of(digest: str) -> str:
    """The path of a blob below its store's root.

    Raises:
        ResultLost: this is no digest; no path is ever made of anything else.
    """
    if not DIGEST.fullmatch(digest):
        raise missing()
    return f"{digest[:2]}/{digest[2:4]}/{digest}.json.zst"


@contextmanager
def unavailable(what: str) -> Iterator[None]:
    """Turns whatever a blob store fails with into StoreUnavailable."""
    try:
        yield
    except ExplaindError:
        raise
    except Exception as error:  # every library behind a bucket has errors of its own
        code = errno.errorcode.get(error.errno or 0) if isinstance(error, OSError) else None
        raise StoreUnavailable(
            f"The result store cannot be {what} ({code or type(error).__name__}).",
            hint="Try again in a moment. Whoever runs the service should look at EXPLAIND_RESULTS_URL and its rights.",
            retry_after=2.0,
        ) from error


def _folder(settings: JobsSettings) -> Path:
    if settings.results_url is None:
        return settings.data_dir / FOLDER
    return Path(url2pathname(urlsplit(settings.results_url).path))
