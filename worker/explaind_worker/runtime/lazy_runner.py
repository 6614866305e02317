"""Lazily imported runner: the worker is up while torch is still loading."""

import logging
import os
import threading
from typing import TYPE_CHECKING

from explaind_jobs.catalogue import Catalogue
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.records import Claim, Outcome
from explaind_worker.models.pool.stats import PoolStats
from explaind_worker.runtime.job_control import JobControl

if TYPE_CHECKING:
    from explaind_worker.runtime.runner import Runner

EXIT_BROKEN = 1

log = logging.getLogger(__name__)


class LazyRunner:
    """Imports and builds the real runner when first needed, or by `warm` in the background."""

    def __init__(self, settings: JobsSettings, catalogue: Catalogue) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._lock = threading.Lock()
        self._runner: Runner | None = None

    def run(self, claim: Claim, control: JobControl) -> Outcome:
        """Compute a job, once the runner is loaded."""
        return self._ready().run(claim, control)

    def resident(self) -> list[str]:
        """Models in memory."""
        return self._runner.resident() if self._runner is not None else []

    def loading(self) -> list[str]:
        """Models being loaded."""
        return self._runner.loading() if self._runner is not None else []

    def revisions(self) -> dict[str, str]:
        """The revision that results depend on, for each model in memory; empty before the runner is loaded."""
        return self._runner.revisions() if self._runner is not None else {}

    def memory(self) -> PoolStats:
        """Memory statistics of the models."""
        return self._runner.memory() if self._runner is not None else PoolStats()

    def warm(self) -> None:
        """Import the runner and let it prepare. If that fails the process ends."""
        try:
            runner = self._ready()
        except ImportError as error:
            log.critical("the worker's libraries cannot be imported: %s (pip install 'explaind[worker]')", error)
            os._exit(EXIT_BROKEN)
        runner.warm()

    def _ready(self) -> "Runner":
        with self._lock:
            if self._runner is None:
                # Read when torch starts its threads. By default they busy-wait, and if another process needs the
                # same cores, a forward takes twenty times as long.
                os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
                from explaind_worker.runtime.runner import Runner  # noqa: PLC0415 - the point of this module

                self._runner = Runner(self._settings, self._catalogue)
            return self._runner
