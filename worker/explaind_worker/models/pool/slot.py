"""One model's place in the pool: what is in memory of it, of which files, and who waits for it."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from explaind.contract.errors import ModelTooLarge
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.models.loading.fingerprint import state_of
from explaind_worker.models.loading.loading import AnyModel, fingerprint, location
from explaind_worker.models.loading.meta_model import AnyMetaModel
from explaind_worker.models.loading.tokenizer import Encoder
from explaind_worker.models.pool.memory_budget import in_words
from explaind_worker.models.pool.memory_ledger import MemoryEntry
from explaind_worker.models.pool.timing_model import Measurement, TimingModel

POLL_S = 0.2
MEASUREMENTS = 32  # the last jobs of a model, by which its pace is told


def nothing() -> None:
    """What is done while waiting, where nobody can be told."""


@dataclass(eq=False)
class Slot:
    """One model. `account` is there while weights are, or are on their way."""

    entry: ModelEntry
    device: str
    encoding: threading.Lock = field(default_factory=threading.Lock)
    encoder: Encoder | None = None
    estimate: int | None = None
    model: AnyModel | None = None
    account: MemoryEntry | None = None
    meta_model: AnyMetaModel | None = None
    load_s: float | None = None  # of the last time it was loaded
    loaded_from: str | None = None  # the state of its files then
    revision: str = ""  # what its answers depended on then, beside its attachments
    pace: TimingModel | None = None  # before any job
    measurements: deque[Measurement] = field(default_factory=lambda: deque(maxlen=MEASUREMENTS))

    def state(self) -> str:
        """Of the files it is loaded from."""
        return state_of([Path(location(self.entry)[0])])

    @property
    def outdated(self) -> bool:
        """Whether the model in memory is of files that have changed since; it leaves once no job is on it."""
        return self.model is not None and self.encoder is not None and self.model.revision != self.encoder.revision

    def current_revision(self) -> str | None:
        """What its answers depend on, its files being those it was loaded from; else None."""
        if self.state() != self.loaded_from:
            return None
        attached = [place for table in self.entry.attachments.values() for place in table.values()]
        return f"{self.revision}|{state_of(attached)}" if attached else self.revision


@dataclass(eq=False)
class Ticket:
    """One who wants a model of that device, and how long since."""

    device: str
    since: float = field(default_factory=time.monotonic)
    waited: bool = False


class held:  # noqa: N801 - reads as the context it is
    """Holds a lock, calling `while_waiting` again and again until it is had, so that a wait can be cancelled."""

    def __init__(self, lock: threading.Lock, while_waiting: Callable[[], None]) -> None:
        self._lock = lock
        self._while_waiting = while_waiting

    def __enter__(self) -> None:
        while not self._lock.acquire(timeout=POLL_S):
            self._while_waiting()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def up_to_date(read: Encoder | AnyModel, entry: ModelEntry) -> bool:
    """Whether the files are still those that were read; files that cannot be read are not."""
    try:
        return read.revision == fingerprint(entry)
    except OSError:
        return False


def too_large(entry: ModelEntry, needed: int, room: int) -> ModelTooLarge:
    return ModelTooLarge(
        f"The model {entry.name!r} needs {in_words(needed)}, this worker has {in_words(room)} for models.",
        hint='Quantize it (quantization = "nf4" or "int8", dtype = "bfloat16"), choose a smaller one, or run it on '
        "a device with more memory (EXPLAIND_MEMORY_BYTES says how much of it is used).",
    )
