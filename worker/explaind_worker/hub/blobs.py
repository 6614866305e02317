"""Blobs of huggingface_hub's cache: verification by digest, and removal of leftovers of interrupted downloads."""

import hashlib
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from huggingface_hub.utils import WeakFileLock

BLOCK = 1 << 20
READERS = 4  # files read concurrently
SHA256, GIT_BLOB = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")
LEFT_BY_A_DOWNLOAD = re.compile(r"(?P<digest>[0-9a-f]{40,64})\.[0-9a-f]+\.incomplete")


def damaged(files: Iterable[Path], after_block: Callable[[], None]) -> list[Path]:
    """The files of a snapshot whose content does not match the hub's digest; `after_block` is called every MiB.

    The hub's digest is the name of the blob that a file links to. Where the cache has copies instead of links (on
    Windows) there is no digest to compare with.
    """
    listed = list(files)
    with ThreadPoolExecutor(READERS) as readers:
        whole = list(readers.map(lambda path: _as_named(path, path.resolve().name, after_block), listed))
    return [path for path, fine in zip(listed, whole, strict=True) if not fine]


def remove(path: Path) -> None:
    """Removes a file of a snapshot and its blob, so that it is downloaded again."""
    blob = path.resolve()
    path.unlink(missing_ok=True)
    blob.unlink(missing_ok=True)


def sweep(storage: Path) -> None:
    """Removes leftovers of interrupted downloads from a repository's cache, but not those of a running one."""
    for path in (storage / "blobs").glob("*.incomplete"):
        match = LEFT_BY_A_DOWNLOAD.fullmatch(path.name)
        if match is None:
            continue
        lock = storage.parent / ".locks" / storage.name / f"{match['digest']}.lock"
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            with WeakFileLock(lock, timeout=0.1):
                path.unlink(missing_ok=True)
        except OSError:  # includes filelock's Timeout
            continue


def _as_named(path: Path, name: str, after_block: Callable[[], None]) -> bool:
    if SHA256.fullmatch(name):
        digest = hashlib.sha256()
    elif GIT_BLOB.fullmatch(name):
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    else:
        return True
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            after_block()
    return digest.hexdigest() == name
