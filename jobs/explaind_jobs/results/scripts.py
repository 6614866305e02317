"""Script calls about results: read a reference, announce a blob, collect unreferenced blobs."""

from typing import Any

from explaind.contract.errors import StoreUnavailable
from explaind_jobs.redis_scripts.script import ScriptCall
from explaind_jobs.results.codec import StoredResult

# An unreferenced blob is left alone this long: a job may be about to refer to it, or a reader still reading it.
GRACE_MS = 3_600_000
# How long a collected blob is reserved for its sweeper; well above the time in which a sweeper removes it.
CONDEMNED_MS = 300_000


def stored(job_id: str) -> ScriptCall[StoredResult | None]:
    """The reference to a job's result, with its bytes if the record holds them; None if there is no result."""

    def parse(reply: Any) -> StoredResult | None:
        if not reply:
            return None
        at, digest, size, encoded_size, data = reply
        inline = bytes(data) if at == b"inline" else None
        return StoredResult(digest.decode(), int(size), int(encoded_size), inline)

    return ScriptCall("result", [job_id], parse)


def announce(digest: str) -> ScriptCall[None]:
    """Announce that a blob is about to be written and referred to; it is not collected during the grace period."""

    def parse(reply: Any) -> None:
        if reply != b"go":
            raise StoreUnavailable(
                "An old result of the same content is being removed at this moment.",
                hint="Nothing was lost. Try again in a moment.",
                retry_after=1.0,
            )

    return ScriptCall("announce", [digest, CONDEMNED_MS], parse)


def gc_collect(limit: int) -> ScriptCall[list[str]]:
    """Reserve unreferenced blobs and return their digests; the caller removes and confirms them, soon."""
    return ScriptCall(
        "gc_collect", [GRACE_MS, CONDEMNED_MS, limit], lambda reply: [digest.decode() for digest in reply]
    )


def gc_confirm(digest: str) -> ScriptCall[None]:
    """Confirm that a collected blob has been removed."""
    return ScriptCall("gc_confirm", [digest], lambda reply: None)


def may_tidy(every_s: int) -> ScriptCall[bool]:
    """Whether it is the caller's turn to tidy the blob store, once per `every_s` seconds."""
    return ScriptCall("may_tidy", [every_s], bool)


def evict_cached(job_id: str) -> ScriptCall[None]:
    """Take a job whose result is lost out of the cache, so that the same request is computed again."""
    return ScriptCall("evict_cached", [job_id], lambda reply: None)
