"""The books of one device's memory: what each model takes up, and which ones leave when another needs room.

Who leaves is told by GreedyDual-Size (Cao & Irani 1997): at every use a model is worth `clock + load seconds / bytes`,
the least worth leaves first, and the clock then stands at what the last to leave was worth. So a model that is cheap
to load again, large, or long unused goes first, and none stays for ever on the strength of its past. Models that a
job uses never leave; preloaded ones only when the others do not free enough.
"""

from collections.abc import Iterable
from dataclasses import dataclass

RESERVE_SHARE = 0.1  # of the budget is kept from weights, so that there is room to work with them


@dataclass(eq=False)
class MemoryEntry:
    """One model's part of the memory. `kept` is what its jobs hold between forwards (caches of generation).

    `copy`: it is the model's copy in bfloat16, beside the account of the model itself.
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
        """Whether it may leave: it is there, and no job uses it."""
        return self.loaded and self.users == 0


class MemoryLedger:
    """The accounts of one device. Whoever calls holds the pool's lock."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.accounts: list[MemoryEntry] = []
        self._clock = 0.0

    @property
    def room_for_weights(self) -> int:
        """Most bytes that weights may take up together."""
        return self.budget - int(self.budget * RESERVE_SHARE)

    @property
    def used(self) -> int:
        """Bytes of weights that are there or on their way."""
        return sum(account.bytes for account in self.accounts)

    @property
    def free(self) -> int:
        """Bytes left for work."""
        return self.budget - self.used - self._kept

    def room_for(self, name: str, bytes: int, least: int) -> int:
        """Bytes there would be for work on a model of that size, others having left where there were fewer.

        Nobody leaves: it is a question.
        """
        known = any(account.name == name for account in self.accounts)
        free = self.free - (0 if known else bytes)
        others = sum(a.bytes for a in self.accounts if a.evictable and (a.copy or a.name != name))
        return max(free, min(least, free + others))

    def use(self, account: MemoryEntry) -> None:
        """The model was asked for: it is worth more than what was not asked for since."""
        account.worth = self._clock + account.load_s / max(1, account.bytes)

    def leavers_for_weights(self, needed: int) -> list[MemoryEntry] | None:
        """Models that must leave so that weights of that size fit; None while those that may are not enough."""
        room = min(self.room_for_weights, self.budget - self._kept)
        return self.leavers(needed - (room - self.used))

    def leavers(self, shortage: int) -> list[MemoryEntry] | None:
        """Models that must leave to free so many bytes, least worth first; None when all that may are not enough."""
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
        """These leave."""
        for account in list(accounts):
            self._clock = max(self._clock, account.worth)
            self.accounts.remove(account)

    @property
    def _kept(self) -> int:
        return sum(account.kept for account in self.accounts)


def _total(accounts: Iterable[MemoryEntry]) -> int:
    return sum(account.bytes for account in accounts)
