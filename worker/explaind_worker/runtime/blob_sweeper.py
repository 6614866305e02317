"""Thread for the garbage collection of unreferenced blobs of results and files."""

import logging
import threading

from explaind.contract.errors import StoreUnavailable
from explaind_jobs.files.file_store import FileStore
from explaind_jobs.results.garbage_collection import BATCH, tidy
from explaind_jobs.store.job_store import JobStore

SWEEP_EVERY_S = 60.0
GOODBYE_S = 5.0

log = logging.getLogger(__name__)


class Sweeper:
    """Garbage collection thread; not part of the supervisor, as a slow bucket must not delay heartbeats.

    Several workers may sweep at a time.
    """

    def __init__(self, store: JobStore, files: FileStore, *, every_s: float = SWEEP_EVERY_S) -> None:
        self._store, self._files = store, files
        self._every_s = every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sweep_on, name="sweeper", daemon=True)

    def start(self) -> None:
        """Start the thread; it sweeps at once, then periodically."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a hanging removal is left to the end of the process."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(GOODBYE_S)

    def round(self) -> None:
        """Remove everything unreferenced by now. Raises StoreUnavailable."""
        while self._store.sweep() == BATCH and not self._stopped.is_set():
            continue
        self._files.sweep()
        left = tidy(self._store.run, self._store.bodies.blobs, self._files.blobs)
        if left:
            log.info("removed %d unfinished files from the store of results", left)

    def _sweep_on(self) -> None:
        while not self._stopped.is_set():
            try:
                self.round()
            except StoreUnavailable as error:
                log.debug("not swept: %s", error.detail)
            except Exception as error:  # a dead sweeper would let the store grow unnoticed
                log.error("sweeper: %s, going on", type(error).__name__)
            self._stopped.wait(self._every_s)
