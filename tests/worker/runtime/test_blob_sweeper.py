"""The thread that sweeps: at once, again, whatever happens, and until it is told to stop."""

import threading
from typing import cast

import pytest

from explaind.contract.errors import StoreUnavailable
from explaind_jobs.files.file_store import FileStore
from explaind_jobs.redis_scripts.script import ScriptCall
from explaind_jobs.results.garbage_collection import BATCH
from explaind_jobs.store.job_store import JobStore
from explaind_worker.runtime.blob_sweeper import Sweeper


class Blobs:
    """Has one unfinished write left."""

    def tidy(self, _age_s: float) -> int:
        return 1


class Files:
    """Whether it was swept."""

    def __init__(self) -> None:
        self.swept = False
        self.blobs = Blobs()

    def sweep(self) -> int:
        self.swept = True
        return 0


class Store:
    """Has so many dead blobs in each batch; an exception in the place of a number is raised."""

    def __init__(self, *batches: int | Exception) -> None:
        self.batches = list(batches)
        self.sweeps = 0
        self.bodies = self
        self.blobs = Blobs()
        self.tidied = threading.Event()

    def sweep(self) -> int:
        self.sweeps += 1
        batch = self.batches.pop(0) if self.batches else 0
        if isinstance(batch, Exception):
            raise batch
        return batch

    def run(self, call: ScriptCall[object]) -> bool:
        """Answers that it is time to tidy."""
        self.tidied.set()
        return True


def sweeper(store: Store, every_s: float = 0.001, files: Files | None = None) -> Sweeper:
    return Sweeper(cast("JobStore", store), cast("FileStore", files or Files()), every_s=every_s)


def test_a_round_takes_all_that_is_dead() -> None:
    store = Store(BATCH, BATCH, 3)
    files = Files()
    sweeper(store, files=files).round()
    assert store.sweeps == 3
    assert files.swept
    assert store.tidied.is_set()


@pytest.mark.parametrize("error", [StoreUnavailable("Down."), ValueError("x")])
def test_it_lives_through_errors(error: Exception) -> None:
    store = Store(error, error)
    running = sweeper(store)
    running.start()
    assert store.tidied.wait(10)
    running.stop()
    assert store.sweeps >= 3
    assert "sweeper" not in [thread.name for thread in threading.enumerate()]


def test_it_stops_while_it_waits_and_when_it_never_ran() -> None:
    store = Store()
    running = sweeper(store, every_s=3600)
    sweeper(store).stop()
    running.start()
    assert store.tidied.wait(10)
    running.stop()
    assert "sweeper" not in [thread.name for thread in threading.enumerate()]
