"""Memory ledger of a device: bytes of each model, and the eviction order.

The policy is GreedyDual-Size (Cao & Irani 1997): at every use a model's worth is set to `clock + load seconds / bytes`;
the lowest worth is evicted first, and the clock advances to it. So models that are cheap to reload, large, or long
unused are evicted first, and past use does not protect a model for ever. Models in use are never evicted; preloaded
ones only if the others do not free enough.
"""

from collections.abc import Iterable
from dataclasses import dataclass

RESERVE_SHARE = 0.1  # of the budget is reserved for work and not used for weights


@dataclass(eq=False)
class MemoryEntry:
    """Memory of one model. `kept` is what its jobs hold between forwards (key/value caches).

    `copy`: this is the entry of the model's copy in bfloat16, additional to that of the model itself.
    """

    name: str
    bytes: int
    preload: bool = False
    load_s: float = 0.0
    loaded: bool = False
    users: int = 0
    kept: int = 0
    worth: float = 0.0
    copy: bool = False

    @property
    def evictable(self) -> bool:
        """Whether it can be evicted: in memory, and used by no job."""
        return self.loaded and self.users == 0


class MemoryLedger:
    """The entries of one device. Callers must hold the pool's lock."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.accounts: list[MemoryEntry] = []
        self._clock = 0.0

    @property
    def room_for_weights(self) -> int:
        """Maximum bytes of all weights together."""
        return self.budget - int(self.budget * RESERVE_SHARE)

    @property
    def used(self) -> int:
        """Bytes of weights in memory or being loaded."""
        return sum(account.bytes for account in self.accounts)

    @property
    def free(self) -> int:
        """Bytes available for work."""
        return self.budget - self.used - self._kept

    def room_for(self, name: str, bytes: int, least: int) -> int:
        """Bytes that would be free for work on a model of that size, after evictions if fewer than `least` are.

        Evicts nothing.
        """
        known = any(account.name == name for account in self.accounts)
        free = self.free - (0 if known else bytes)
        others = sum(a.bytes for a in self.accounts if a.evictable and (a.copy or a.name != name))
        return max(free, min(least, free + others))

    def use(self, account: MemoryEntry) -> None:
        """Updates the worth of a model that is used."""
        account.worth = self._clock + account.load_s / max(1, account.bytes)

    def leavers_for_weights(self, needed: int) -> list[MemoryEntry] | None:
        """Models to evict so that weights of that size fit; None if evicting all that is evictable is not enough."""
        room = min(self.room_for_weights, self.budget - self._kept)
        return self.leavers(needed - (room - self.used))

    def leavers(self, shortage: int) -> list[MemoryEntry] | None:
        """Models to evict to free `shortage` bytes, lowest worth first; None if all evictable ones are not enough."""
        chosen: list[MemoryEntry] = []
        candidates = sorted((a for a in self.accounts if a.evictable), key=lambda a: (a.preload, a.worth))
        for account in candidates:
            if shortage <= _total(chosen):
                break
            chosen.append(account)
        if _total(chosen) < shortage:
            return None
        # A large one at the end may have made the small ones before it unnecessary.
        for account in sorted(chosen, key=lambda a: (a.preload, a.worth), reverse=True):
            if _total(chosen) - account.bytes >= shortage:
                chosen.remove(account)
        return chosen

    def evict(self, accounts: Iterable[MemoryEntry]) -> None:
        """Evicts these models."""
        for account in list(accounts):
            self._clock = max(self._clock, account.worth)
            self.accounts.remove(account)

    @property
    def _kept(self) -> int:
        return sum(account.kept for account in self.accounts)


def _total(accounts: Iterable[MemoryEntry]) -> int:
    return sum(account.bytes for account in accounts)
