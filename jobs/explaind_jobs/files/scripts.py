"""The script calls about files: announce a blob, keep, look up, list and delete a file, and sweep what is loose."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from explaind.contract.errors import InvalidRequest, StoreUnavailable, TooManyFiles
from explaind.contract.files import FileKind
from explaind_jobs.files.records import KeptFile, NewFile, Put
from explaind_jobs.redis_scripts.script import Argument, ScriptCall, text

# A blob that was announced is referred to within the first of these, or swept after the second.
WRITTEN_WITHIN_MS = 1_800_000
LOOSE_MS = 3_600_000
# So long a listing may go on after a file that was deleted meanwhile.
GONE_S = 3600


def announce(blob: str) -> ScriptCall[None]:
    """Say that a blob is about to be written; should nothing refer to it in the end, it is swept."""
    return ScriptCall("file_announce", [blob], lambda reply: None)


def put(owner: str, new: NewFile, most: int) -> ScriptCall[Put]:
    """Keep a file, unless it is kept already.

    Raises:
        TooManyFiles: its owner keeps so many already.
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
    """A file that the caller may see; None where there is none."""
    return ScriptCall("file_get", [kind, file_id, caller, int(preview)], lambda reply: _file(reply) if reply else None)


def page(kind: FileKind, caller: str, after: str | None, limit: int) -> ScriptCall[list[KeptFile]]:
    """Up to `limit` of the files that the caller may see, newest first, that follow `after`.

    Raises:
        InvalidRequest: there is no such `after`.
    """

    def parse(reply: Any) -> list[KeptFile]:
        found, *rows = reply
        if not found:
            raise InvalidRequest.at("/query/after", f"There is no {kind} {after!r} to go on after.", hint="Begin anew.")
        return [_file(row) for row in rows]

    return ScriptCall("file_list", [kind, caller, after or "", limit], parse)


def delete(kind: FileKind, file_id: str, caller: str) -> ScriptCall[str | None]:
    """Forget a file; the name of its blob, which is to be removed. None where the caller sees no such file."""
    return ScriptCall("file_delete", [kind, file_id, caller, GONE_S], lambda reply: text(reply) if reply else None)


def loose(limit: int) -> ScriptCall[list[str]]:
    """Blobs that nothing refers to, and has not for long: to be removed and buried."""
    return ScriptCall("file_gc_list", [LOOSE_MS, limit], lambda reply: [text(blob) for blob in reply])


def gc_confirm(blob: str) -> ScriptCall[None]:
    """A loose blob has been removed."""
    return ScriptCall("file_gc_confirm", [blob], lambda reply: None)


def too_many(kind: FileKind, most: int) -> TooManyFiles:
    """The refusal of one more file than an owner may keep."""
    return TooManyFiles(
        f"{most} {kind}s are kept already, the most that this service keeps for one API key.",
        hint=f"Delete what is not needed any more (DELETE /{kind}s/ID), or have EXPLAIND_MAX_FILES raised.",
    )


def _file(row: Sequence[bytes]) -> KeptFile:
    file_id, created, card, blob, digest, size, *rest = (text(word) for word in row)
    created_at = datetime.fromtimestamp(int(created) / 1000, UTC)
    return KeptFile(file_id, created_at, card, blob, digest, int(size), rest[0] if rest else "")
