"""File locks: held by the processes that have the file open, released when they end."""

import contextlib
import sys
import time
from pathlib import Path
from typing import IO

POLL_S = 0.05


def try_lock(path: Path) -> IO[str] | None:
    """The open, locked file; None if another process holds the lock. Close it to release the lock."""
    file = path.open("a+", encoding="ascii")
    with contextlib.suppress(OSError):
        _lock(file)
        return file
    file.close()
    return None


def lock_within(path: Path, seconds: float) -> IO[str] | None:
    """As `try_lock`, but waits up to `seconds` for the other process to release it."""
    deadline = time.monotonic() + seconds
    while (file := try_lock(path)) is None and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return file


def _lock(file: IO[str]) -> None:
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415 - Windows only

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl  # noqa: PLC0415 - POSIX only

        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
