"""Blob store in a directory: written to a temporary file, synced, renamed; no symlink is followed."""

import errno
import os
import secrets
import time
from collections.abc import Iterator
from mmap import mmap
from pathlib import Path

from explaind_jobs.results.blob_store import RESULTS, BlobKind, name_of, unavailable

NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)  # absent on Windows, where creating links needs privileges
NO_BLOB = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}
UNFINISHED = ".tmp"


class DirectoryBlobs:
    """A blob store in a directory shared by service and workers. Files are readable by their owner alone."""

    def __init__(self, root: Path, place: BlobKind = RESULTS) -> None:
        self._root = root
        self._place = place

    def write(self, digest: str, data: bytes | mmap) -> None:
        """Store a blob atomically, even if the machine crashes. Raises StoreUnavailable."""
        path = self._root / name_of(digest, self._place)
        with unavailable("written"):
            self._make_folders(path.parent)
            self._refuse_links(path.parent)
            unfinished = path.with_name(f".{digest}.{secrets.token_hex(8)}{UNFINISHED}")
            try:
                _write_new(unfinished, data)
                unfinished.replace(path)
            except BaseException:
                unfinished.unlink(missing_ok=True)
                raise
            _sync_folder(path.parent)

    def read(self, digest: str) -> bytes:
        """The bytes of a blob. Raises the kind's error (ResultLost) and StoreUnavailable."""
        path = self._root / name_of(digest, self._place)
        with unavailable("read"):
            try:
                self._refuse_links(path.parent)
                with os.fdopen(os.open(path, os.O_RDONLY | NO_FOLLOW), "rb") as file:
                    return file.read()
            except OSError as error:
                if error.errno in NO_BLOB:
                    raise self._place.lost() from error
                raise

    def remove(self, digest: str) -> None:
        """Remove a blob. Raises StoreUnavailable."""
        path = self._root / name_of(digest, self._place)
        with unavailable("cleared"):
            try:
                self._refuse_links(path.parent)
            except FileNotFoundError:
                return
            path.unlink(missing_ok=True)

    def tidy(self, older_than_s: float) -> int:
        """Remove temporary files of writes interrupted by a crash. Raises StoreUnavailable."""
        until, removed = time.time() - older_than_s, 0
        with unavailable("cleared"):
            for shelf in _folders(self._root):
                for folder in _folders(shelf):
                    for path in folder.glob(f".*{UNFINISHED}"):
                        if path.lstat().st_mtime < until:
                            path.unlink(missing_ok=True)
                            removed += 1
        return removed

    def _make_folders(self, folder: Path) -> None:
        self._root.parent.mkdir(parents=True, exist_ok=True)
        for each in (self._root, folder.parent, folder):
            try:
                each.mkdir(mode=0o700)
            except FileExistsError:
                continue
            _sync_folder(each.parent)

    def _refuse_links(self, folder: Path) -> None:
        # The root may be a symlink, at its owner's choice; below it only directories made here are accepted.
        if folder.resolve(strict=True) != self._root.resolve() / folder.relative_to(self._root):
            raise OSError(errno.ELOOP, "a link inside the result store")


def _write_new(path: Path, data: bytes | mmap) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open, let alone sync, a directory
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _folders(parent: Path) -> Iterator[Path]:
    try:
        entries = list(os.scandir(parent))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield Path(entry.path)
