"""Reads stored results, inline or from the blob store. All methods block: the API calls them from threads."""

from functools import cached_property

from explaind_jobs.results.blob_store import BlobStore
from explaind_jobs.results.codec import StoredResult, decode, verify
from explaind_jobs.results.open_blobs import open_blobs
from explaind_jobs.settings import JobsSettings


class ResultBodies:
    """Reads stored results and verifies them."""

    def __init__(self, settings: JobsSettings) -> None:
        self._settings = settings

    @cached_property
    def blobs(self) -> BlobStore:
        """The store of large results; opened when first needed. Raises StoreUnavailable."""
        return open_blobs(self._settings)

    def encoded(self, stored: StoredResult) -> bytes:
        """The zstd of a result. Raises ResultLost and StoreUnavailable."""
        if stored.inline is not None:
            return stored.inline
        data = self.blobs.read(stored.digest)
        verify(data, stored)
        return data

    def raw(self, stored: StoredResult) -> bytes:
        """The JSON of a result. Raises ResultLost and StoreUnavailable."""
        return decode(self.blobs.read(stored.digest) if stored.inline is None else stored.inline, stored)
