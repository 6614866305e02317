"""Garbage collection of unreferenced result blobs. Why none is lost: docs/decisions/0007-results.md."""

import logging
import time
from collections.abc import Callable
from typing import Any

from explaind.contract.errors import ExplaindError
from explaind_jobs.redis_scripts.script import ScriptCall
from explaind_jobs.results import scripts
from explaind_jobs.results.blob_store import BlobStore

BATCH = 100
# Time to remove collected blobs, from `gc_collect`; far below the time for which they are reserved.
REMOVAL_S = 60.0
TIDY_EVERY_S = 86_400
UNFINISHED_S = 86_400.0

log = logging.getLogger(__name__)


def sweep(
    run: Callable[[ScriptCall[Any]], Any], blobs: BlobStore, *, clock: Callable[[], float] = time.monotonic
) -> int:
    """Remove a batch of unreferenced blobs; returns how many there were.

    Raises:
        StoreUnavailable: Redis does not answer. Reserved blobs are collected again later.
    """
    until = clock() + REMOVAL_S
    condemned: list[str] = run(scripts.gc_collect(BATCH))
    for digest in condemned:
        if clock() > until:  # this process was suspended: a blob may be in the course of being written again
            break
        try:
            blobs.remove(digest)
        except ExplaindError as error:
            log.warning("a dead result stays in the store for now: %s", error.detail)
            continue
        run(scripts.gc_confirm(digest))
    return len(condemned)


def tidy(run: Callable[[ScriptCall[Any]], Any], *stores: BlobStore) -> int:
    """Remove leftovers of interrupted writes, once a day over all workers; returns their number.

    Raises:
        StoreUnavailable: Redis or the blob store does not answer.
    """
    return sum(blobs.tidy(UNFINISHED_S) for blobs in stores) if run(scripts.may_tidy(TIDY_EVERY_S)) else 0
