"""Model pool of a worker: models are loaded on first use and kept until another one needs their memory.

Each device has a budget (`memory_budget`), a ledger decides on evictions (`memory_ledger`), and a job pins its model.
"""

import logging
import threading
import time
from collections.abc import Callable

from explaind.contract.errors import ModelLoadFailed, OutOfMemory
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.hub.catalogue_entries import fetch_files
from explaind_worker.models.device_errors import poisoned, release_memory
from explaind_worker.models.files.place import device_of, fingerprint
from explaind_worker.models.files.pretrained import one_at_a_time
from explaind_worker.models.loading.loaded import AnyModel, LoadedModel
from explaind_worker.models.loading.loading import load_encoder, load_model, size_of
from explaind_worker.models.loading.meta_model import AnyMetaModel, MetaModel, meta_model_of
from explaind_worker.models.patient_lock import POLL_S, held, nothing
from explaind_worker.models.pool.lease import ModelPin
from explaind_worker.models.pool.memory_budget import MemoryBudget, in_words
from explaind_worker.models.pool.memory_forecast import MemoryForecast
from explaind_worker.models.pool.memory_ledger import MemoryEntry, MemoryLedger
from explaind_worker.models.pool.narrow_copies import NarrowCopies
from explaind_worker.models.pool.slot import Slot, Ticket, too_large, up_to_date
from explaind_worker.models.pool.stats import ModelMemory, PoolStats
from explaind_worker.models.pool.timing_model import Measurement, TimingModel
from explaind_worker.models.text.tokenizer import Encoder

PATIENCE_S = 30.0  # how long later requests may overtake; after that the waiting job is next

logger = logging.getLogger(__name__)


class ModelPool:
    """Models by name, within a memory budget per device. Safe to use from several threads."""

    def __init__(self, budget: MemoryBudget | None = None) -> None:
        self._budget = budget or MemoryBudget()
        self._slots: dict[str, Slot] = {}
        self._ledgers: dict[str, MemoryLedger] = {}
        self._device_locks: dict[str, threading.Lock] = {}
        self._changed = threading.Condition()
        self.narrow_copies = NarrowCopies(self._changed, self._evict)
        self._queue: set[Ticket] = set()  # jobs waiting for memory
        self._loads = 0
        self._evictions = 0

    def encoder(self, entry: ModelEntry, *, while_waiting: Callable[[], None] = nothing) -> Encoder:
        """The model's tokenizer, read again if its files have changed; does not load the weights."""
        slot = self._slot(entry)
        encoder = slot.encoder
        if encoder is None or not up_to_date(encoder, entry):
            fetch_files(entry, "description", while_waiting)
            with held(slot.encoding, while_waiting), one_at_a_time(while_waiting):
                encoder = slot.encoder
                if encoder is None or not up_to_date(encoder, entry):
                    encoder = slot.encoder = load_encoder(entry)
                    slot.estimate = None
        return encoder

    def pin(self, entry: ModelEntry, *, while_waiting: Callable[[], None] = nothing) -> ModelPin:
        """Pins the model, loading it and evicting others if necessary.

        `while_waiting` is called repeatedly while another job loads the model, or while all other models are in use;
        what it raises ends the wait.

        Raises:
            ModelTooLarge: it would not fit even alone.
            ModelLoadFailed, SelfCheckFailed, OutOfMemory: as `load_model`.
        """
        self.encoder(entry, while_waiting=while_waiting)
        slot = self._slot(entry)
        if slot.model is None and slot.estimate is None:
            with one_at_a_time(while_waiting):
                slot.estimate = size_of(entry)
        if slot.model is None:
            self._refuse_too_large(slot)
            fetch_files(entry, "weights", while_waiting)  # before evictions for it, and outside of all locks
        ticket = Ticket(slot.device)
        try:
            while True:
                with self._changed:
                    if (outdated := slot.outdated) and slot.account is not None and not slot.account.users:
                        self._evict(self.ledger(entry), [slot.account])
                    if (
                        slot.model is not None
                        and slot.account is not None
                        and not outdated
                        and not self._yields(ticket)
                    ):
                        return self._pin(slot.model, slot.account, ticket)
                    leavers = self._admit(slot, ticket)
                    if leavers is None:
                        self._changed.wait(POLL_S)
                if leavers is not None:
                    return self._load(slot, ticket, freed=bool(leavers), while_waiting=while_waiting)
                ticket.waited = True
                while_waiting()
        finally:
            with self._changed:
                self._queue.discard(ticket)

    def model(self, entry: ModelEntry, *, while_waiting: Callable[[], None] = nothing) -> tuple[AnyModel, float]:
        """The model, and the seconds spent on getting it (0 if it was in memory), without pinning it."""
        with (pin := self.pin(entry, while_waiting=while_waiting)) as model:
            return model, pin.load_s

    def meta_model(self, entry: ModelEntry, *, while_waiting: Callable[[], None] = nothing) -> AnyMetaModel:
        """The model without weights, which are not loaded.

        Raises:
            ModelLoadFailed, SelfCheckFailed: as `meta_model_of`.
        """
        encoder, slot = self.encoder(entry, while_waiting=while_waiting), self._slot(entry)
        if slot.meta_model is None or slot.meta_model.encoder is not encoder:
            with one_at_a_time(while_waiting):
                slot.meta_model = meta_model_of(entry, encoder)
                slot.meta_model.lock = self._lock_of(slot.device)
        model = slot.model
        if isinstance(slot.meta_model, MetaModel) and isinstance(model, LoadedModel):
            slot.meta_model.verdicts = model.verdicts  # results of probes survive the model's eviction
        return slot.meta_model

    def memory_forecast(self, entry: ModelEntry, least: int) -> MemoryForecast:
        """Memory forecast for a job on this model whose largest row needs `least` bytes; evicts nothing."""
        meta_model, ledger, slot = self.meta_model(entry), self.ledger(entry), self._slot(entry)
        with self._changed:
            bytes = slot.account.bytes if slot.account is not None else meta_model.bytes
            return MemoryForecast(
                model_bytes=bytes,
                resident=slot.model is not None,
                room=ledger.room_for(entry.name, bytes, least),
                most_room=ledger.budget - bytes,
                weights_fit=bytes <= ledger.room_for_weights,
                load_s=slot.load_s,
                copied=self.narrow_copies.has(entry.name),
            )

    def learn(self, entry: ModelEntry, measured: Measurement) -> None:
        """Records the measurement of a job on that model."""
        self._slot(entry).measurements.append(measured)

    def measurements(self, entry: ModelEntry) -> list[Measurement]:
        """The latest measurements of jobs on that model, oldest first."""
        return list(self._slot(entry).measurements)

    def pace(self, entry: ModelEntry) -> TimingModel | None:
        """The initial timing model stored for that model, before jobs refine it."""
        return self._slot(entry).pace

    def keep_pace(self, entry: ModelEntry, pace: TimingModel) -> None:
        """Stores the initial timing model of a model."""
        self._slot(entry).pace = pace

    def resident(self) -> list[str]:
        """Names of the models in memory."""
        return sorted(name for name, slot in list(self._slots.items()) if slot.model is not None)

    def loading(self) -> list[str]:
        """Names of the models being loaded."""
        slots = list(self._slots.items())
        return sorted(name for name, slot in slots if slot.model is None and slot.account is not None)

    def revisions(self) -> dict[str, str]:
        """For each model loaded here what results depend on: fingerprint, dtype, quantization, attachments.

        If a model's files have changed since it was loaded, a value that matches no result.
        """
        known = [(name, slot) for name, slot in list(self._slots.items()) if slot.loaded_from is not None]
        return {name: slot.current_revision() or f"changed: {slot.state()}" for name, slot in known}

    def revision_of(self, name: str) -> str | None:
        """`revisions` for one model; None if its files have changed since it was loaded."""
        slot = self._slots.get(name)
        return slot.current_revision() if slot is not None and slot.loaded_from is not None else None

    def bytes_used(self) -> int:
        """Bytes of the weights in memory or being loaded, on all devices."""
        with self._changed:
            return sum(ledger.used for ledger in self._ledgers.values())

    def bytes_budget(self) -> int:
        """Bytes allowed for weights and work on the devices in use."""
        with self._changed:
            return sum(ledger.budget for ledger in self._ledgers.values())

    def stats(self) -> PoolStats:
        """Memory statistics."""
        with self._changed:
            accounts = [account for ledger in self._ledgers.values() for account in ledger.accounts]
            return PoolStats(
                bytes_used=sum(account.bytes for account in accounts),
                bytes_budget=sum(ledger.budget for ledger in self._ledgers.values()),
                loads=self._loads,
                evictions=self._evictions,
                models={
                    a.name: ModelMemory(sum(b.bytes for b in accounts if b.name == a.name), a.load_s)
                    for a in accounts
                    if a.loaded and not a.copy
                },
            )

    def ledger(self, entry: ModelEntry) -> MemoryLedger:
        """The ledger of the model's device.

        Raises:
            ModelLoadFailed: there is no such device.
        """
        device = device_of(entry)
        with self._changed:
            if device not in self._ledgers:
                self._ledgers[device] = MemoryLedger(self._bytes_of(device, entry))
            return self._ledgers[device]

    def make_room(self, entry: ModelEntry, least: int) -> int:
        """Bytes free for work on the model's device, after evicting unused models if fewer than `least`."""
        ledger = self.ledger(entry)
        with self._changed:
            leavers = ledger.leavers(least - ledger.free) or []
            self._evict(ledger, leavers)
            free = ledger.free
        if leavers:
            release_memory()
        return free

    def keep(self, account: MemoryEntry, more: int) -> None:
        """Adds to the bytes that a job holds between its forwards (negative: subtracts)."""
        with self._changed:
            account.kept += more
            self._changed.notify_all()

    def end(self, account: MemoryEntry, kept: int) -> None:
        """Ends a job's use of a model; called by `ModelPin`."""
        with self._changed:
            account.users -= 1
            account.kept -= kept
            self._changed.notify_all()

    def _pin(self, model: AnyModel, account: MemoryEntry, ticket: Ticket) -> ModelPin:
        account.users += 1
        self.ledger(model.entry).use(account)
        return ModelPin(self, model, account, time.monotonic() - ticket.since if ticket.waited else 0.0)

    def _yields(self, ticket: Ticket) -> bool:
        """Whether an earlier job has waited so long for memory that it goes first."""
        now = time.monotonic()
        return any(
            other.device == ticket.device and other.since < ticket.since and now - other.since > PATIENCE_S
            for other in self._queue
        )

    def _admit(self, slot: Slot, ticket: Ticket) -> list[MemoryEntry] | None:
        """Enters the model in the ledger; returns the evicted models, None if it has to wait.

        Raises:
            ModelTooLarge: it would not fit even alone.
        """
        self._refuse_too_large(slot)
        ledger, needed = self.ledger(slot.entry), slot.estimate or 0
        if slot.account is not None:  # another job is loading it
            return None
        leavers = None if self._yields(ticket) else ledger.leavers_for_weights(needed)
        if leavers is None:
            self._queue.add(ticket)
            return None
        self._evict(ledger, leavers)
        slot.account = MemoryEntry(slot.entry.name, needed, preload=slot.entry.preload)
        ledger.accounts.append(slot.account)
        return leavers

    def _refuse_too_large(self, slot: Slot) -> None:
        needed, room = slot.estimate or 0, self.ledger(slot.entry).room_for_weights
        if needed > room:
            raise too_large(slot.entry, needed, room)

    def _load(self, slot: Slot, ticket: Ticket, *, freed: bool, while_waiting: Callable[[], None]) -> ModelPin:
        account, ledger = slot.account, self.ledger(slot.entry)
        assert account is not None  # noqa: S101 - it was admitted
        started = time.monotonic()
        try:
            if freed:
                release_memory()
            with one_at_a_time(while_waiting):
                model = self._loaded(slot, ledger)
        except BaseException:
            with self._changed:
                slot.account = None
                ledger.accounts.remove(account)
                self._changed.notify_all()
            raise
        with self._changed:
            slot.model, slot.load_s = model, time.monotonic() - started
            account.bytes, account.load_s, account.loaded = model.bytes, time.monotonic() - started, True
            ticket.waited = True
            self._loads += 1
            self._changed.notify_all()
            return self._pin(model, account, ticket)

    def _loaded(self, slot: Slot, ledger: MemoryLedger) -> AnyModel:
        entry, lock = slot.entry, self._lock_of(slot.device)
        encoder, state = slot.encoder, slot.state()
        if encoder is None or encoder.revision != fingerprint(entry):  # its files have changed
            encoder = slot.encoder = load_encoder(entry)
        slot.loaded_from = None
        model = self._read(entry, encoder, lock, ledger)
        slot.revision, slot.loaded_from = f"{model.revision}|{model.dtype}|{encoder.quantization}", state
        return model

    def _read(self, entry: ModelEntry, encoder: Encoder, lock: threading.Lock, ledger: MemoryLedger) -> AnyModel:
        try:
            return load_model(entry, encoder, lock)
        except OutOfMemory:
            with self._changed:
                leavers = [account for account in ledger.accounts if account.evictable]
                self._evict(ledger, leavers)
            if not leavers:
                raise
        # The device holds more than the ledger knows, perhaps for another process: retry once with all memory freed.
        release_memory()
        return load_model(entry, encoder, lock)

    def _evict(self, ledger: MemoryLedger, leavers: list[MemoryEntry]) -> None:
        ledger.evict(leavers)
        for account in leavers:
            self.narrow_copies.left(account, ledger)
            if account.copy:
                logger.info("the bfloat16 copy of %s left the memory, %s", account.name, in_words(account.bytes))
                continue
            slot = self._slots[account.name]
            slot.model = slot.account = None
            self._evictions += 1
            logger.info("evicted %s, %s", account.name, in_words(account.bytes))

    def _bytes_of(self, device: str, entry: ModelEntry) -> int:
        try:
            return self._budget.of(device)
        except (RuntimeError, AssertionError) as error:  # AssertionError: from a torch built without CUDA
            if poisoned(error):
                raise
            raise ModelLoadFailed(
                f"The model {entry.name!r} is to run on {device}, which this worker does not have.",
                hint='Set device = "auto" or "cpu" in models.toml, or send its jobs to another queue.',
            ) from error

    def _slot(self, entry: ModelEntry) -> Slot:
        with self._changed:
            return self._slots.setdefault(entry.name, Slot(entry, device_of(entry)))

    def _lock_of(self, device: str) -> threading.Lock:
        with self._changed:
            return self._device_locks.setdefault(device, threading.Lock())
