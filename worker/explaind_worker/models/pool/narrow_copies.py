"""Copies of the pool's models with matrix products in bfloat16, made when a job first requests one.

A copy has a separate entry in the ledger, so that it is evicted before any request is refused for lack of memory, and
together with its model, whose other weights it shares.
"""

import logging
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace

import torch

from explaind.contract.errors import SelfCheckFailed
from explaind_worker.models.device_errors import out_of_memory, poisoned, release_memory
from explaind_worker.models.loading.loaded import AnyModel, LoadedModel
from explaind_worker.models.patient_lock import held
from explaind_worker.models.pool.memory_budget import in_words
from explaind_worker.models.pool.memory_ledger import MemoryEntry, MemoryLedger
from explaind_worker.models.structure import self_check
from explaind_worker.models.structure.anatomy import anatomy_of
from explaind_worker.models.structure.classifier_head import class_logits
from explaind_worker.models.structure.narrow_copy import narrow_bytes, narrow_copy, narrow_layers

# Largest relative norm of the difference of the logits: rounding causes 0.01 to 0.03, a wrong copy about 1.
TOLERANCE = 0.1
CHECKED = 11  # tokens

Evict = Callable[[MemoryLedger, list[MemoryEntry]], None]

logger = logging.getLogger(__name__)


class NarrowCopies:
    """The copies by the name of their model. `changed` is the pool's condition, whose lock guards them."""

    def __init__(self, changed: threading.Condition, evict: Evict) -> None:
        self._changed, self._evict = changed, evict
        self._making = threading.Lock()
        self._copies: dict[str, tuple[AnyModel, MemoryEntry]] = {}
        self._refused: dict[str, tuple[weakref.ref[AnyModel], str]] = {}

    def acquire(
        self, model: AnyModel, ledger: MemoryLedger, least: int, while_waiting: Callable[[], None]
    ) -> tuple[AnyModel, MemoryEntry] | str:
        """The model's copy and its ledger entry, whose `users` includes the caller; or the reason why there is none.

        The caller holds a pin of the model. The copy must leave `least` bytes for work; unused models are evicted for
        it, those in use are not waited for.
        """
        with held(self._making, while_waiting):
            refused, why = self._refused.get(model.entry.name, (None, ""))
            if refused is not None and refused() is model:
                return why
            account = self._entered(model, ledger, least)
            if account is None:
                return self._no_memory(model)
            if account.loaded:
                return self._copies[model.entry.name]
            try:
                made = self._made(model, while_waiting)
            except BaseException:
                self._give_up(ledger, account)
                raise
            if made is None or isinstance(made, str):
                self._give_up(ledger, account)
                release_memory()
                if made is not None:  # out of memory may be temporary; any other reason is final
                    self._refused[model.entry.name] = weakref.ref(model), made
                return made or self._no_memory(model)
            with self._changed:
                account.loaded = True
                self._copies[model.entry.name] = made, account
            logger.info("copied %s in bfloat16, %s", model.entry.name, in_words(account.bytes))
            return made, account

    def has(self, name: str) -> bool:
        """Whether the model of that name has a copy. Hold the pool's lock."""
        return name in self._copies

    def left(self, account: MemoryEntry, ledger: MemoryLedger) -> None:
        """Notes that this model, or copy, was evicted: a copy goes with its model. Hold the pool's lock."""
        found = self._copies.get(account.name)
        if found is not None and (found[1] is account or not account.copy):
            del self._copies[account.name]
            if found[1] in ledger.accounts:
                ledger.accounts.remove(found[1])

    def _entered(self, model: AnyModel, ledger: MemoryLedger, least: int) -> MemoryEntry | None:
        """The copy's entry, with one more user: an existing one, or a new one if there is memory."""
        with self._changed:
            known = self._copies.get(model.entry.name)
            if known is not None and known[0].copy_of is model:
                account, leavers = known[1], []
            else:
                account = MemoryEntry(model.entry.name, narrow_bytes(model.network), copy=True)
                shortage = max(
                    account.bytes + least - ledger.free, account.bytes + ledger.used - ledger.room_for_weights
                )
                leavers = ledger.leavers(shortage)
                if leavers is None:
                    return None
                self._evict(ledger, leavers)
                ledger.accounts.append(account)
            account.users += 1
            ledger.use(account)
        if leavers:
            release_memory()
        return account

    def _give_up(self, ledger: MemoryLedger, account: MemoryEntry) -> None:
        with self._changed:
            ledger.accounts.remove(account)
            self._changed.notify_all()

    @staticmethod
    def _no_memory(model: AnyModel) -> str:
        return f"there is no memory for a copy of its weights in bfloat16 ({in_words(narrow_bytes(model.network))})"

    @staticmethod
    def _made(model: AnyModel, while_waiting: Callable[[], None]) -> AnyModel | str | None:
        """The copy, checked against its model; or what is wrong with it; None if memory ran out."""
        try:
            layers = narrow_layers(model.network, while_waiting=while_waiting)
            with held(model.lock, while_waiting):
                network = narrow_copy(model.network, layers)
                made = replace(model, network=network, copy_of=model, bytes=narrow_bytes(model.network))
                if isinstance(made, LoadedModel):
                    made = replace(made, anatomy=anatomy_of(network))
                difference = _difference(made, model)
        except SelfCheckFailed as error:
            logger.warning("the bfloat16 copy of %s is not used: %s", model.entry.name, error.detail)
            return "a copy of its layers in bfloat16 does not compute as the model does"
        except (TypeError, AttributeError, RuntimeError) as error:  # a network may hold objects that cannot be copied
            if poisoned(error):
                raise
            if out_of_memory(error):
                return None
            logger.warning("%s could not be copied: %s", model.entry.name, error)
            return f"its layers cannot be copied ({type(error).__name__})"
        if not difference <= TOLERANCE:  # true for a NaN, too
            return f"in bfloat16 its logits differ by {difference:.0%}, which is more than rounding"
        return made


def _difference(made: AnyModel, model: AnyModel) -> float:
    """Norm of the difference of the logits on a short sequence, relative to the norm of the model's."""
    ids = torch.arange(CHECKED)[None] * 7919 % model.encoder.vocabulary
    with torch.inference_mode():
        if isinstance(made, LoadedModel):
            # The copy's anatomy is determined anew; its products are rounded like those of quantized weights.
            self_check.check(made.network, made.anatomy, quantized=True)
            ours, theirs = (m.network(input_ids=ids, use_cache=False).logits for m in (made, model))
        else:
            ours, theirs = (class_logits(m.network, input_ids=ids) for m in (made, model))
    return float((ours - theirs).norm() / theirs.norm().clamp_min(1e-12))
