"""The models a worker holds: loaded when first asked for, kept from then on."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from explaind_jobs.catalogue import ModelEntry
from explaind_worker.models.encoding import Encoder
from explaind_worker.models.loading import LoadedModel, device_of, load_encoder, load_model

POLL_S = 0.2


@dataclass
class _Slot:
    """One model's place: the lock makes sure that two jobs do not load it twice."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    encoder: Encoder | None = None
    model: LoadedModel | None = None
    loading: bool = False


class ModelPool:
    """Models by name. Safe to use from several threads."""

    def __init__(self) -> None:
        self._slots: dict[str, _Slot] = {}
        self._device_locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def encoder(self, entry: ModelEntry, *, while_waiting: Callable[[], None] = lambda: None) -> Encoder:
        """The model's tokenizer; its weights are not touched."""
        slot = self._slot(entry)
        if slot.encoder is None:
            with _held(slot.lock, while_waiting):
                if slot.encoder is None:
                    slot.encoder = load_encoder(entry)
        return slot.encoder

    def model(
        self, entry: ModelEntry, *, while_waiting: Callable[[], None] = lambda: None
    ) -> tuple[LoadedModel, float]:
        """The model, and the seconds spent on getting it (0 when it was there)."""
        encoder = self.encoder(entry, while_waiting=while_waiting)
        slot = self._slot(entry)
        if slot.model is not None:
            return slot.model, 0.0
        started = time.monotonic()
        with _held(slot.lock, while_waiting):
            if slot.model is None:
                slot.loading = True
                try:
                    slot.model = load_model(entry, encoder, self._lock_of(device_of(entry)))
                finally:
                    slot.loading = False
        return slot.model, time.monotonic() - started

    def resident(self) -> list[str]:
        """Names of the models in memory."""
        return sorted(name for name, slot in list(self._slots.items()) if slot.model is not None)

    def loading(self) -> list[str]:
        """Names of the models on their way there."""
        return sorted(name for name, slot in list(self._slots.items()) if slot.loading)

    def _slot(self, entry: ModelEntry) -> _Slot:
        with self._guard:
            return self._slots.setdefault(entry.name, _Slot())

    def _lock_of(self, device: str) -> threading.Lock:
        with self._guard:
            return self._device_locks.setdefault(device, threading.Lock())


class _held:  # noqa: N801 - reads as the context it is
    """Holds a lock, calling `while_waiting` again and again until it is had, so that a wait can be cancelled."""

    def __init__(self, lock: threading.Lock, while_waiting: Callable[[], None]) -> None:
        self._lock = lock
        self._while_waiting = while_waiting

    def __enter__(self) -> None:
        while not self._lock.acquire(timeout=POLL_S):
            self._while_waiting()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
