"""Removes the blobs that no job refers to any more. Why this loses none: docs/decisions/0007-results.md."""

import logging
import time
from collections.abc import Callable
from typing import Any

from explaind.contract.errors import ExplaindError
from explaind_jobs.redis_scripts.script import ScriptCall
from explaind_jobs.results import scripts
from explaind_jobs.results.blob_store import BlobStore

BATCH = 100
# From the moment blobs were condemned; far less than the time for which they are held condemned.
REMOVAL_S = 60.0
TIDY_EVERY_S = 86_400
UNFINISHED_S = 86_400.0

log = logging.getLogger(__name__)


def sweep(
    run: Callable[[ScriptCall[Any]], Any], blobs: BlobStore, *, clock: Callable[[], float] = time.monotonic
) -> int:
    """Remove a batch of dead blobs; returns how many there were.

    Raises:
        StoreUnavailable: Redis does not answer. What was condemned is taken up again later.
    """
    until = clock() + REMOVAL_S
    condemned: list[str] = run(scripts.gc_collect(BATCH))
    for digest in condemned:
        if clock() > until:  # this process stood still: by now somebody may be writing it again
            break
        try:
            blobs.remove(digest)
        except ExplaindError as error:
            log.warning("a dead result stays in the store for now: %s", error.detail)
            continue
        run(scripts.gc_confirm(digest))
    return len(condemned)


def tidy(run: Callable[[ScriptCall[Any]], Any], *stores: BlobStore) -> int:
    """Once a day, by whichever worker comes first, remove what interrupted writes left; returns how much.

    Raises:
        StoreUnavailable: Redis or the blob store does not answer.
    """
    return sum(blobs.tidy(UNFINISHED_S) for blobs in stores) if run(scripts.may_tidy(TIDY_EVERY_S)) else 0
