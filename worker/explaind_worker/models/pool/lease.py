"""Pin of a model: while it lasts, the model stays in memory."""

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from explaind_worker.models.loading.loaded import AnyModel
from explaind_worker.models.pool.memory_ledger import MemoryEntry

if TYPE_CHECKING:
    from explaind_worker.models.pool.pool import ModelPool


class ModelPin:
    """A job's pin of a model, which stays in memory until the release. Use it as a context, or call `release`."""

    def __init__(self, pool: "ModelPool", model: AnyModel, account: MemoryEntry, load_s: float) -> None:
        self.model = model
        self.load_s = load_s
        self._pool = pool
        self._account = account
        self._kept = 0
        self._copy: MemoryEntry | None = None
        self._released = False

    @property
    def most_room(self) -> int:
        """Bytes available for work if no other model were in memory."""
        return self._pool.ledger(self.model.entry).budget - self._account.bytes

    def room(self, least: int, *, kept: int = 0) -> int:
        """Bytes available to a forward now; unused models are evicted if fewer than `least` are free.

        `kept` are the bytes that the job holds between its forwards from now on; it replaces the previous value. The
        result may be less than `least`: models in use are not waited for, since two jobs could wait for each other.
        """
        self._pool.keep(self._account, kept - self._kept)
        self._kept = kept
        return self._pool.make_room(self.model.entry, least)

    def narrow_copy(self, least: int, *, while_waiting: Callable[[], None]) -> AnyModel | str:
        """The model's copy with products in bfloat16, kept until `release`; or the reason why there is none.

        It leaves `least` bytes for work, and is made only if it fits beside the models that other jobs use.
        """
        ledger = self._pool.ledger(self.model.entry)
        found = self._pool.narrow_copies.acquire(self.model, ledger, least, while_waiting)
        if isinstance(found, str):
            return found
        copy, account = found
        if self._copy is not None:  # this job is already counted
            self._pool.end(self._copy, 0)
        self._copy = account
        return copy

    def release(self) -> None:
        """Unpins the model; idempotent."""
        if not self._released:
            self._released = True
            if self._copy is not None:
                self._pool.end(self._copy, 0)
            self._pool.end(self._account, self._kept)

    def __enter__(self) -> AnyModel:
        return self.model

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()
