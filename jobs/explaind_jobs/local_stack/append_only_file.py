"""Repairs the embedded server's append-only file after a crash: a damaged end is cut off and saved in a file.

The server itself removes an incomplete last command. With anything else at the end (zeros of a page that never reached
the disk, a half-written block) it does not start. Its check tool would truncate the file as well, but is not installed
everywhere, discards what it cuts, and empties base files of an unknown format.
"""

import mmap
import os
import re
import shlex
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from explaind_jobs.local_stack.redis_server import ServerStartError

FOLDER = "appendonlydir"
MANIFEST = "appendonly.aof.manifest"
MAX_LINE = 64
MAX_PARTS, MAX_PART_BYTES = 1 << 20, 1 << 30
LONGEST_NAME = 16

_COUNT = re.compile(rb"[*$](\d{1,10})\r\n")
_COMMAND = re.compile(rb"\*\d{1,7}\r\n\$\d{1,10}\r\n")
_ENTRY = re.compile(r'^file "?(?P<name>[^"/\s]+)"? seq \d+ type i\b', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Damage:
    """Damage to a file: only its first `whole` bytes are complete commands and transactions.

    `is_tail` unless readable commands, or another file, follow the damage.
    """

    file: Path
    whole: int
    size: int
    is_tail: bool


def mend(folder: Path) -> str | None:
    """Cut a damaged end off the append-only file in the data directory `folder`; returns a message, None if nothing
    was damaged.

    Raises:
        ServerStartError: more than the end is damaged, or the damaged bytes cannot be saved; says what to do by hand.
    """
    damage = find_damage(folder)
    if damage is None:
        return None
    if not damage.is_tail:
        raise ServerStartError(
            f"The append-only file {damage.file} cannot be read beyond byte {damage.whole} of {damage.size}, and what "
            f"comes after the damage is more than a broken end. {_by_hand(damage)}"
        )
    try:
        kept = _cut(damage, folder)
    except OSError as error:
        raise ServerStartError(
            f"The end of the append-only file {damage.file} is damaged, and cannot be kept elsewhere to be cut off "
            f"({error.strerror}). Free space there, or see to it by hand. {_by_hand(damage)}"
        ) from error
    return (
        f"The end of the append-only file {damage.file} was damaged: the {damage.size - damage.whole} bytes after byte "
        f"{damage.whole} were cut off and are kept in {kept}. What was written in the moment before the damage may be "
        "missing."
    )


def find_damage(folder: Path) -> Damage | None:
    """The first damage to the incremental files in the data directory `folder`; the base file is not read."""
    try:
        entries = _ENTRY.findall((folder / FOLDER / MANIFEST).read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return None
    files = [folder / FOLDER / name for name in entries]
    for file in files:
        if file.is_file() and (damage := _damage_of(file)) is not None:
            last = file == files[-1]
            return damage if last else Damage(damage.file, damage.whole, damage.size, is_tail=False)
    return None


def _damage_of(path: Path) -> Damage | None:
    size = path.stat().st_size
    with path.open("rb") as file:
        whole, broken = _read_commands(file, size)
        if whole == size:
            return None
        return Damage(path, whole, size, is_tail=not _commands_after(file, broken, size))


def _read_commands(file: BinaryIO, size: int) -> tuple[int, int]:
    """End of the last complete command or transaction, and offset of the first bytes that are not a command."""
    whole, place, in_transaction = 0, 0, False
    while place < size:
        file.seek(place)
        name = _command(file, size)
        if name is None:
            break
        in_transaction = name == b"MULTI" or (in_transaction and name != b"EXEC")
        place = file.tell()
        if not in_transaction:
            whole = place
    return whole, place


def _command(file: BinaryIO, size: int) -> bytes | None:
    """Read one command or annotation of the server; returns its name, None if it is incomplete or malformed."""
    line = file.readline(MAX_LINE)
    if line.startswith(b"#") and line.endswith(b"\r\n"):
        return b"#"
    parts = _count(line, b"*", MAX_PARTS)
    if not parts:
        return None
    name = b""
    for number in range(parts):
        length = _count(file.readline(MAX_LINE), b"$", MAX_PART_BYTES)
        if length is None or file.tell() + length + 2 > size:
            return None
        if number == 0 and length <= LONGEST_NAME:
            name = file.read(length).upper()
        else:
            file.seek(length, os.SEEK_CUR)
        if file.read(2) != b"\r\n":
            return None
    return name


def _count(line: bytes, kind: bytes, most: int) -> int | None:
    found = _COUNT.fullmatch(line)
    count = int(found[1]) if found is not None and line.startswith(kind) else None
    return count if count is not None and count <= most else None


def _commands_after(file: BinaryIO, place: int, size: int) -> bool:
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for found in _COMMAND.finditer(content, place + 1):
            file.seek(found.start())
            if _command(file, size) is not None:
                return True
    return False


def _cut(damage: Damage, folder: Path) -> Path:
    kept = folder / f"{damage.file.name}.cut-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    with damage.file.open("r+b") as file:
        file.seek(damage.whole)
        try:
            # Readable by the owner alone: it contains prompts.
            with os.fdopen(os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as copy:
                while part := file.read(1 << 20):
                    copy.write(part)
                copy.flush()
                os.fsync(copy.fileno())
        except OSError:
            kept.unlink(missing_ok=True)
            raise
        file.truncate(damage.whole)
        file.flush()
        os.fsync(file.fileno())
    return kept


def _by_hand(damage: Damage) -> str:
    file = shlex.quote(str(damage.file))
    cut = shlex.quote(f"import os, sys; os.truncate(sys.argv[1], {damage.whole})")
    return (
        "Restore it from a backup; or keep a copy of it and go on without what comes after:\n"
        f"  cp {file} {file}.damaged && {shlex.quote(sys.executable)} -c {cut} {file}"
    )
