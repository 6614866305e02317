"""The script calls about results: read a reference, announce a blob, condemn and bury dead ones."""

from typing import Any

from explaind.contract.errors import StoreUnavailable
from explaind_jobs.redis_scripts.script import ScriptCall
from explaind_jobs.results.codec import StoredResult

# A blob nobody refers to is left alone so long: somebody may be about to refer to it, or still be reading it.
GRACE_MS = 3_600_000
# So long a condemned blob is its sweeper's; well over the time a sweeper takes it upon itself to remove it in.
CONDEMNED_MS = 300_000


def stored(job_id: str) -> ScriptCall[StoredResult | None]:
    """The reference to a job's result, with its bytes where the record holds them; None when it has none."""

    def parse(reply: Any) -> StoredResult | None:
        if not reply:
            return None
        at, digest, size, encoded_size, data = reply
        inline = bytes(data) if at == b"inline" else None
        return StoredResult(digest.decode(), int(size), int(encoded_size), inline)

    return ScriptCall("result", [job_id], parse)


def announce(digest: str) -> ScriptCall[None]:
    """Say that a blob is about to be written and referred to; from then on no sweeper takes it for the grace."""

    def parse(reply: Any) -> None:
        if reply != b"go":
            raise StoreUnavailable(
                "An old result of the same content is being removed at this moment.",
                hint="Nothing was lost. Try again in a moment.",
                retry_after=1.0,
            )

    return ScriptCall("announce", [digest, CONDEMNED_MS], parse)


def gc_collect(limit: int) -> ScriptCall[list[str]]:
    """The digests of blobs that nobody refers to any more, to be removed and buried by the caller, soon."""
    return ScriptCall(
        "gc_collect", [GRACE_MS, CONDEMNED_MS, limit], lambda reply: [digest.decode() for digest in reply]
    )


def gc_confirm(digest: str) -> ScriptCall[None]:
    """A condemned blob has been removed."""
    return ScriptCall("gc_confirm", [digest], lambda reply: None)


def may_tidy(every_s: int) -> ScriptCall[bool]:
    """Whether it is the caller's turn to tidy the blob store, which comes once in `every_s` seconds."""
    return ScriptCall("may_tidy", [every_s], bool)


def evict_cached(job_id: str) -> ScriptCall[None]:
    """The job's result is lost: let it answer no further requests, so that asking again computes it again."""
    return ScriptCall("evict_cached", [job_id], lambda reply: None)
