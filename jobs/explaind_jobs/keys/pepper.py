"""The pepper: 32 random bytes that every process of one installation shares and that Redis never holds.

It enters everything derived from API keys (MACs, webhook secrets), so that read access to Redis alone allows neither
testing keys nor signing messages.
"""

import base64
import binascii
import contextlib
import os
import secrets
import stat
import sys
from pathlib import Path

from explaind_jobs.settings import JobsSettings

FILE_NAME = "pepper"
SIZE = 32
MAKE_ONE = "openssl rand -base64 32"


class PepperError(ValueError):
    """No usable pepper; the message says why and what to do."""


def load_pepper(settings: JobsSettings) -> bytes:
    """The pepper of `EXPLAIND_PEPPER`, else of the file `pepper` in the data directory, created if missing.

    Raises:
        PepperError: it is not 32 bytes, other users may read the file, or the file can be neither read nor created.
    """
    if settings.pepper is not None:
        return _decoded(settings.pepper.get_secret_value())
    path = settings.data_dir / FILE_NAME
    try:
        with contextlib.suppress(FileNotFoundError):
            return _read(path)
        _make(path)
        return _read(path)
    except OSError as error:
        raise PepperError(
            f"{path}: can be neither read nor made ({error.strerror}). Make {settings.data_dir} writable, or set "
            f"EXPLAIND_PEPPER to the output of: {MAKE_ONE}"
        ) from error


def _decoded(encoded: str) -> bytes:
    with contextlib.suppress(binascii.Error, ValueError):
        pepper = base64.b64decode(encoded, validate=True)
        if len(pepper) == SIZE:
            return pepper
    raise PepperError(f"EXPLAIND_PEPPER is not {SIZE} bytes in base64. Make one by: {MAKE_ONE}")


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        pepper = file.read(SIZE + 1)
    if sys.platform != "win32" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise PepperError(f"{path}: others than its owner may read or write it. Run: chmod 600 {path}")
    if len(pepper) != SIZE:
        raise PepperError(
            f"{path}: is not {SIZE} bytes long. Restore it from a backup; a new one makes every API key and every "
            "webhook secret invalid."
        )
    return pepper


def _make(path: Path) -> None:
    """Creates the file atomically, or keeps another process's: no process reads half a pepper."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{FILE_NAME}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
            file.write(secrets.token_bytes(SIZE))
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, never replaces an existing file.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
