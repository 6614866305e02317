"""State of one model in the pool: tokenizer, weights, the files they were read from; and tickets of waiting jobs."""

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from explaind.contract.errors import ModelTooLarge
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.models.files.fingerprint import state_of
from explaind_worker.models.files.place import fingerprint, location
from explaind_worker.models.loading.loaded import AnyModel
from explaind_worker.models.loading.meta_model import AnyMetaModel
from explaind_worker.models.pool.memory_budget import in_words
from explaind_worker.models.pool.memory_ledger import MemoryEntry
from explaind_worker.models.pool.timing_model import Measurement, TimingModel
from explaind_worker.models.text.tokenizer import Encoder

MEASUREMENTS = 32  # the last jobs of a model, by which its pace is told


@dataclass(eq=False)
class Slot:
    """One model. `account` is set while its weights are in memory or being loaded."""

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
        """State of the files it is loaded from: sizes, times, inodes."""
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
    """A job waiting for a model on that device, and since when."""

    device: str
    since: float = field(default_factory=time.monotonic)
    waited: bool = False


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
