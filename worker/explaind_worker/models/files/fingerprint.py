"""Fingerprints of model files: a digest of all relevant files in a directory, cached while they are unchanged."""

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

# The files that transformers reads: weights, configs, tokenizers of every kind, chat templates.
SUFFIXES = frozenset({".json", ".safetensors", ".jinja", ".model", ".txt", ".tiktoken", ".npz", ".pt"})
TEMPLATES = "additional_chat_templates"
HEX_DIGITS = 40
READERS = 4  # shards read concurrently
BLOCK = 1 << 20


def fingerprint_of(folder: Path) -> str:
    """A digest of names and contents of the model files in that directory.

    A file is read once, and again only if its size, mtime or inode has changed.

    Raises:
        OSError: a file cannot be read.
    """
    ordered = sorted(_files(folder))
    with ThreadPoolExecutor(READERS) as readers:
        contents = list(readers.map(_content, ordered))
    digest = hashlib.sha256()
    for path, content in zip(ordered, contents, strict=True):
        digest.update(f"{path.relative_to(folder).as_posix()}:{content}\n".encode())
    return f"sha256:{digest.hexdigest()[:HEX_DIGITS]}"


def state_of(places: Iterable[Path]) -> str:
    """A digest of sizes, mtimes and inodes of the model files at those paths; no file is read.

    While it is unchanged, so are the fingerprints. Missing or inaccessible paths are included as such.
    """
    digest = hashlib.sha256()
    for place in places:
        try:
            for path in sorted(_files(place)) if place.is_dir() else [place]:
                state = path.stat()
                digest.update(f"{path} {state.st_size} {state.st_mtime_ns} {state.st_ino}\n".encode())
        except OSError as error:
            digest.update(f"{place} {type(error).__name__}\n".encode())
    return digest.hexdigest()[:HEX_DIGITS]


def _files(folder: Path) -> Iterator[Path]:
    """The model files in that directory."""
    for place in (folder, folder / TEMPLATES):
        if place.is_dir():
            yield from (path for path in place.iterdir() if path.suffix in SUFFIXES and path.is_file())


def _content(path: Path) -> str:
    state = path.stat()
    return _digest(path, state.st_size, state.st_mtime_ns, state.st_ino)


@lru_cache(maxsize=4096)
def _digest(path: Path, _size: int, _mtime_ns: int, _inode: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
