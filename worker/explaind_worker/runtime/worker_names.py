"""Stable worker names: a restarted worker gets its predecessor's name, and thereby its jobs."""

import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from explaind_jobs.local_stack.file_lock import try_lock

MAX_WORKERS = 256


@dataclass(frozen=True, slots=True)
class WorkerName:
    """A name held for the life of the process by a file lock in the data directory."""

    name: str
    lock: IO[str]

    def release(self) -> None:
        """Release the name for another worker."""
        self.lock.close()


def names_given(data_dir: Path) -> list[str]:
    """The names taken so far by this host's workers from this directory, held or not."""
    locks = sorted(data_dir.glob("worker-*.lock"))
    return [_name(lock.stem.removeprefix("worker-"), token) for lock in locks if (token := _token(lock))]


def take_name(data_dir: Path) -> WorkerName:
    """Takes the first free name of this directory, `{host}-{number}-{token}`.

    The token is stored in the lock file, so that names of different directories never collide.

    Raises:
        OSError: the directory cannot be written to, or every name is taken.
    """
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    for number in range(MAX_WORKERS):
        lock = try_lock(data_dir / f"worker-{number}.lock")
        if lock is None:
            continue
        lock.seek(0)
        token = lock.read().strip()
        if not token:
            token = secrets.token_hex(3)
            lock.write(token)
            lock.flush()
        return WorkerName(_name(number, token), lock)
    raise OSError(f"{MAX_WORKERS} workers already use {data_dir}.")


def _name(number: int | str, token: str) -> str:
    return f"{socket.gethostname()}-{number}-{token}"


def _token(lock: Path) -> str:
    try:
        return lock.read_text(encoding="ascii").strip()
    except OSError:
        return ""
