"""Script calls about files: announce a blob; create, look up, list and delete a file; sweep unreferenced blobs."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from explaind.contract.errors import InvalidRequest, StoreUnavailable, TooManyFiles
from explaind.contract.files import FileKind
from explaind_jobs.files.records import KeptFile, NewFile, Put
from explaind_jobs.redis_scripts.script import Argument, ScriptCall, text

# An announced blob must be referred to within the first of these; it is swept after the second.
WRITTEN_WITHIN_MS = 1_800_000
LOOSE_MS = 3_600_000
# How long a listing can continue after a file that has been deleted meanwhile.
GONE_S = 3600


def announce(blob: str) -> ScriptCall[None]:
    """Announce a blob about to be written; it is swept if no record comes to refer to it."""
    return ScriptCall("file_announce", [blob], lambda reply: None)


def put(owner: str, new: NewFile, most: int) -> ScriptCall[Put]:
    """Record a file, unless it exists already.

    Raises:
        TooManyFiles: its owner has reached the limit.
        StoreUnavailable: the blob was announced too long ago.
    """

    def parse(reply: Any) -> Put:
        outcome, loose = text(reply[0]), text(reply[1])
        if outcome == "full":
            raise too_many(new.kind, most)
        if outcome == "late":
            raise StoreUnavailable("The file took too long to be written.", hint="Try again in a moment.")
        return Put(_file(reply[2:]), created=outcome == "created", loose=loose or None)

    args: list[Argument] = [new.kind, new.id, owner, new.blob, most, WRITTEN_WITHIN_MS, int(new.replaces)]
    args += ["digest", new.digest, "size", new.size, "card", new.card, "preview", new.preview]
    return ScriptCall("file_put", args, parse)


def get(kind: FileKind, file_id: str, caller: str, *, preview: bool = False) -> ScriptCall[KeptFile | None]:
    """A file visible to the caller; None if there is none."""
    return ScriptCall("file_get", [kind, file_id, caller, int(preview)], lambda reply: _file(reply) if reply else None)


def page(kind: FileKind, caller: str, after: str | None, limit: int) -> ScriptCall[list[KeptFile]]:
    """Up to `limit` of the files visible to the caller, newest first, that follow `after`.

    Raises:
        InvalidRequest: `after` names no file.
    """

    def parse(reply: Any) -> list[KeptFile]:
        found, *rows = reply
        if not found:
            raise InvalidRequest.at("/query/after", f"There is no {kind} {after!r} to go on after.", hint="Begin anew.")
        return [_file(row) for row in rows]

    return ScriptCall("file_list", [kind, caller, after or "", limit], parse)


def delete(kind: FileKind, file_id: str, caller: str) -> ScriptCall[str | None]:
    """Delete a file; returns the name of its blob, to be removed, or None if the caller sees no such file."""
    return ScriptCall("file_delete", [kind, file_id, caller, GONE_S], lambda reply: text(reply) if reply else None)


def loose(limit: int) -> ScriptCall[list[str]]:
    """Long unreferenced blobs, to be removed and confirmed with `gc_confirm`."""
    return ScriptCall("file_gc_list", [LOOSE_MS, limit], lambda reply: [text(blob) for blob in reply])


def gc_confirm(blob: str) -> ScriptCall[None]:
    """Confirm that an unreferenced blob has been removed."""
    return ScriptCall("file_gc_confirm", [blob], lambda reply: None)


def too_many(kind: FileKind, most: int) -> TooManyFiles:
    """The error for exceeding an owner's file limit."""
    return TooManyFiles(
        f"{most} {kind}s are kept already, the most that this service keeps for one API key.",
        hint=f"Delete what is not needed any more (DELETE /{kind}s/ID), or have EXPLAIND_MAX_FILES raised.",
    )


def _file(row: Sequence[bytes]) -> KeptFile:
    file_id, created, card, blob, digest, size, *rest = (text(word) for word in row)
    created_at = datetime.fromtimestamp(int(created) / 1000, UTC)
    return KeptFile(file_id, created_at, card, blob, digest, int(size), rest[0] if rest else "")
