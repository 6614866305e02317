"""File access of a job with retries while the store is unavailable or full; the job can be stopped meanwhile."""

from collections.abc import Callable
from functools import cached_property
from mmap import mmap
from typing import Any, TypeVar

from explaind_jobs.files.file_store import FileStore
from explaind_jobs.files.records import KeptFile
from explaind_jobs.redis_scripts.script import ScriptCall
from explaind_jobs.results.blob_store import BlobStore
from explaind_worker.runtime.outcome import PERSIST_S, persist

T = TypeVar("T")

WAIT_S = PERSIST_S


class PatientFileStore(FileStore):
    """The files of `store`, with retries for ten minutes if unavailable; `check` is called between attempts."""

    def __init__(self, store: FileStore, check: Callable[[], None]) -> None:
        super().__init__(self._run, store.settings)
        self._store = store
        self._check = check

    @cached_property
    def blobs(self) -> BlobStore:
        """The blob store."""
        return self._store.blobs

    def write(self, data: bytes | mmap) -> str:
        """Write a blob, as the store does. Raises StoreUnavailable, and what `check` raises."""
        return self._patiently(lambda: self._store.write(data))

    def read(self, file: KeptFile) -> bytes:
        """The bytes of a file. Raises FileLost, StoreUnavailable, and what `check` raises."""
        return self._patiently(lambda: self._store.read(file))

    def _run(self, call: ScriptCall[Any], /) -> Any:
        return self._patiently(lambda: self._store.run(call))

    def _patiently(self, call: Callable[[], T]) -> T:
        return persist(call, limit_s=WAIT_S, check=self._check)
