"""The blobs of huggingface_hub's cache: whether they hold what their names say, and what a dead download left."""

import hashlib
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from huggingface_hub.utils import WeakFileLock

BLOCK = 1 << 20
READERS = 4  # files that are read at once
SHA256, GIT_BLOB = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")
LEFT_BY_A_DOWNLOAD = re.compile(r"(?P<digest>[0-9a-f]{40,64})\.[0-9a-f]+\.incomplete")


def damaged(files: Iterable[Path], after_block: Callable[[], None]) -> list[Path]:
    """Those of a snapshot's files whose content is not what the hub said; `after_block` is called every MiB.

    The hub's digest is the name of the blob that a file links to. Where the cache has copies in place of links (on
    Windows) there is none to compare with.
    """
    listed = list(files)
    with ThreadPoolExecutor(READERS) as readers:
        whole = list(readers.map(lambda path: _as_named(path, path.resolve().name, after_block), listed))
    return [path for path, fine in zip(listed, whole, strict=True) if not fine]


def remove(path: Path) -> None:
    """Removes a file of a snapshot and its blob, so that it is fetched again."""
    blob = path.resolve()
    path.unlink(missing_ok=True)
    blob.unlink(missing_ok=True)


def sweep(storage: Path) -> None:
    """Removes what downloads that died have left in a repository's cache; none of one that is running."""
    for path in (storage / "blobs").glob("*.incomplete"):
        match = LEFT_BY_A_DOWNLOAD.fullmatch(path.name)
        if match is None:
            continue
        lock = storage.parent / ".locks" / storage.name / f"{match['digest']}.lock"
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            with WeakFileLock(lock, timeout=0.1):
                path.unlink(missing_ok=True)
        except OSError:  # filelock's Timeout is one
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
