"""State of one model in the pool (tokenizer, weights, source files), and tickets of waiting jobs."""

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

MEASUREMENTS = 32  # the last jobs of a model, from which its timing is learnt


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
    load_s: float | None = None  # of the last loading
    loaded_from: str | None = None  # state of its files at that time
    revision: str = ""  # what results depended on at that time, apart from its attachments
    pace: TimingModel | None = None  # before any job
    measurements: deque[Measurement] = field(default_factory=lambda: deque(maxlen=MEASUREMENTS))

    def state(self) -> str:
        """State of its source files: sizes, mtimes, inodes."""
        return state_of([Path(location(self.entry)[0])])

    @property
    def outdated(self) -> bool:
        """Whether the source files have changed since loading; it is evicted once no job uses it."""
        return self.model is not None and self.encoder is not None and self.model.revision != self.encoder.revision

    def current_revision(self) -> str | None:
        """The revision its results depend on, if its files are unchanged since loading; else None."""
        if self.state() != self.loaded_from:
            return None
        attached = [place for table in self.entry.attachments.values() for place in table.values()]
        return f"{self.revision}|{state_of(attached)}" if attached else self.revision


@dataclass(eq=False)
class Ticket:
    """A job waiting for a model on that device, and the time since when."""

    device: str
    since: float = field(default_factory=time.monotonic)
    waited: bool = False


def up_to_date(read: Encoder | AnyModel, entry: ModelEntry) -> bool:
    """Whether the files are unchanged since they were read; False if they cannot be read."""
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
