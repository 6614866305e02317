"""Blob store in a bucket, through fsspec: one put per blob, which S3 makes visible as a whole or not at all."""

from collections.abc import Mapping
from mmap import mmap
from typing import Any

import fsspec

from explaind_jobs.results.blob_store import RESULTS, BlobKind, name_of, unavailable


class BucketBlobs:
    """A blob store at an fsspec URL; `options` are passed to its file system unchanged."""

    def __init__(self, url: str, options: Mapping[str, Any], place: BlobKind = RESULTS) -> None:
        self._place = place
        # A separate instance without listings cache: writes and removals of other processes must be seen at once.
        own = {"skip_instance_cache": True, "use_listings_cache": False}
        self._files, root = fsspec.url_to_fs(url, **{**own, **options})
        self._root = root.rstrip("/")

    def write(self, digest: str, data: bytes | mmap) -> None:
        """Store a blob. Raises StoreUnavailable."""
        with unavailable("written"):
            self._files.pipe_file(self._path(digest), bytes(data))

    def read(self, digest: str) -> bytes:
        """The bytes of a blob. Raises the kind's error (ResultLost) and StoreUnavailable."""
        with unavailable("read"):
            try:
                return self._files.cat_file(self._path(digest))
            except FileNotFoundError as error:
                raise self._place.lost() from error

    def remove(self, digest: str) -> None:
        """Remove a blob. Raises StoreUnavailable."""
        with unavailable("cleared"):
            try:
                self._files.rm_file(self._path(digest))
            except FileNotFoundError:
                return

    def tidy(self, older_than_s: float) -> int:
        """Nothing to do: an interrupted put leaves nothing, and the bucket's lifecycle rules end multipart uploads."""
        del older_than_s
        return 0

    def _path(self, digest: str) -> str:
        return f"{self._root}/{name_of(digest, self._place)}"
