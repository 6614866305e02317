"""Blobs in a bucket, through fsspec: one put each, which S3 makes visible as a whole or not at all."""

from collections.abc import Mapping
from mmap import mmap
from typing import Any

import fsspec

from explaind_jobs.results.blob_store import RESULTS, BlobKind, name_of, unavailable


class BucketBlobs:
    """A blob store at a URL that fsspec understands; `options` go to its file system as they are."""

    def __init__(self, url: str, options: Mapping[str, Any], place: BlobKind = RESULTS) -> None:
        self._place = place
        # An instance of its own and no listings: what other processes write and remove must be seen at once.
        own = {"skip_instance_cache": True, "use_listings_cache": False}
        self._files, root = fsspec.url_to_fs(url, **{**own, **options})
        self._root = root.rstrip("/")

    def write(self, digest: str, data: bytes | mmap) -> None:
        """Keep a blob. Raises StoreUnavailable."""
        with unavailable("written"):
            self._files.pipe_file(self._path(digest), bytes(data))

    def read(self, digest: str) -> bytes:
        """The bytes of a blob. Raises what the place says (ResultLost), and StoreUnavailable."""
        with unavailable("read"):
            try:
                return self._files.cat_file(self._path(digest))
            except FileNotFoundError as error:
                raise self._place.lost() from error

    def remove(self, digest: str) -> None:
        """Forget a blob. Raises StoreUnavailable."""
        with unavailable("cleared"):
            try:
                self._files.rm_file(self._path(digest))
            except FileNotFoundError:
                return

    def tidy(self, older_than_s: float) -> int:
        """Nothing to do: an interrupted put leaves nothing, and the bucket's own rules end multipart uploads."""
        del older_than_s
        return 0

    def _path(self, digest: str) -> str:
        return f"{self._root}/{name_of(digest, self._place)}"
