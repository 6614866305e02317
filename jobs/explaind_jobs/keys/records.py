"""What is known of an API key."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from explaind_jobs.store.records import Allowance

KeyState = Literal["active", "expired", "revoked"]


class Scope(StrEnum):
    """What a key may be used for."""

    READ = "read"
    WRITE = "write"
    METRICS = "metrics"
    ADMIN = "admin"


# Who holds one of these may do it as well.
_INCLUDED_IN = {
    Scope.READ: frozenset({Scope.READ, Scope.WRITE, Scope.ADMIN}),
    Scope.WRITE: frozenset({Scope.WRITE, Scope.ADMIN}),
    Scope.METRICS: frozenset({Scope.METRICS, Scope.ADMIN}),
    Scope.ADMIN: frozenset({Scope.ADMIN}),
}


def permits(held: frozenset[Scope], needed: Scope) -> bool:
    """Whether these scopes allow what needs that one: write includes read, admin everything."""
    return not held.isdisjoint(_INCLUDED_IN[needed])


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be kept: its code, never the key. `lifetime_s` is None for one that does not expire."""

    id: str
    mac: str = field(repr=False)
    name: str
    scopes: frozenset[Scope]
    lifetime_s: float | None = None
    allowance: Allowance = field(default_factory=Allowance)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept, and what it was when it was looked up, by the clock of the server."""

    id: str
    mac: str = field(repr=False)
    name: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    state: KeyState
    allowance: Allowance


@dataclass(frozen=True, slots=True)
class Keys:
    """An answer of the store: the keys asked for, whether keys are asked for at all, and by which pepper.

    `remembered` says that it is an earlier answer.
    """

    found: list[ApiKey]
    mark: str | None
    remembered: bool = False

    @property
    def asked_for(self) -> bool:
        """Whether a key was ever made: from then on every caller must show one, even when all are revoked."""
        return self.mark is not None
