"""Blob storage of datasets and artifacts: a blob is written before a record refers to it."""

import hashlib
import logging
import secrets
import tempfile
from functools import cached_property
from mmap import ACCESS_READ, mmap
from typing import BinaryIO, Protocol, TypeVar, cast

from explaind.contract.errors import ExplaindError
from explaind_jobs.files import scripts
from explaind_jobs.files.cards import lost
from explaind_jobs.files.records import KeptFile
from explaind_jobs.redis_scripts.script import ScriptCall
from explaind_jobs.results.blob_store import BlobKind, BlobStore, unavailable
from explaind_jobs.results.open_blobs import open_blobs, scratch_folder
from explaind_jobs.settings import JobsSettings

T = TypeVar("T")

SWEPT_AT_A_TIME = 100

log = logging.getLogger(__name__)

FILES = BlobKind(folder="files", below="files", ending=".bin", lost=lost)


class Run(Protocol):
    """Runs a script call and returns its parsed reply."""

    def __call__(self, call: ScriptCall[T], /) -> T:
        """Returns or raises what the call's parser does; raises StoreUnavailable."""
        ...


class FileBlobs:
    """The blobs of all files, and temporary files on the same disk."""

    def __init__(self, run: Run, settings: JobsSettings) -> None:
        self.run = run
        self.settings = settings

    @cached_property
    def blobs(self) -> BlobStore:
        """The blob store; opened when first needed. Raises StoreUnavailable."""
        return open_blobs(self.settings, FILES)

    def sweep(self) -> int:
        """Remove a batch of blobs that have been unreferenced for long; returns how many. Raises StoreUnavailable."""
        found = self.run(scripts.loose(SWEPT_AT_A_TIME))
        for blob in found:
            self.discard(blob)
        return len(found)

    def temporary(self) -> BinaryIO:
        """A temporary file, removed when closed; on the disk of the blobs if they are in a directory.

        Raises:
            StoreUnavailable: it cannot be created.
        """
        with unavailable("written"):
            return cast("BinaryIO", tempfile.TemporaryFile(dir=scratch_folder(self.settings, FILES)))

    def write_file(self, file: BinaryIO) -> str:
        """`write` for an open file, which is memory-mapped and never read into memory as a whole."""
        file.flush()
        with mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            return self.write(data)

    def write(self, data: bytes | mmap) -> str:
        """Write a blob under a new name, durably; unreferenced until a record names it. Raises StoreUnavailable."""
        blob = secrets.token_hex(32)
        self.run(scripts.announce(blob))
        self.blobs.write(blob, data)
        return blob

    def read(self, file: KeptFile) -> bytes:
        """The bytes of a file. Raises FileLost, StoreUnavailable."""
        data = self.blobs.read(file.blob)
        if len(data) != file.size or hashlib.sha256(data).hexdigest() != file.digest:
            raise lost()
        return data

    def discard(self, blob: str) -> None:
        """Remove an unreferenced blob; after a failure it is left to the sweep."""
        try:
            self.blobs.remove(blob)
            self.run(scripts.gc_confirm(blob))
        except ExplaindError as error:
            log.warning("a file that nobody needs stays in the store for now: %s", error.detail)
