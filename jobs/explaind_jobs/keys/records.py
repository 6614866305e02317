"""Records of API keys: scopes, stored keys, look-up results."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from explaind_jobs.store.records import Allowance

KeyState = Literal["active", "expired", "revoked"]


class Scope(StrEnum):
    """Scope of a key: what it may be used for."""

    READ = "read"
    WRITE = "write"
    METRICS = "metrics"
    ADMIN = "admin"


# Scopes that include this one.
_INCLUDED_IN = {
    Scope.READ: frozenset({Scope.READ, Scope.WRITE, Scope.ADMIN}),
    Scope.WRITE: frozenset({Scope.WRITE, Scope.ADMIN}),
    Scope.METRICS: frozenset({Scope.METRICS, Scope.ADMIN}),
    Scope.ADMIN: frozenset({Scope.ADMIN}),
}


def permits(held: frozenset[Scope], needed: Scope) -> bool:
    """Whether the held scopes allow what `needed` does: write includes read, admin everything."""
    return not held.isdisjoint(_INCLUDED_IN[needed])


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be stored: its MAC, never the key. `lifetime_s` is None for one that does not expire."""

    id: str
    mac: str = field(repr=False)
    name: str
    scopes: frozenset[Scope]
    lifetime_s: float | None = None
    allowance: Allowance = field(default_factory=Allowance)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A stored key, and its state at look-up by the Redis server's clock."""

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
    """Result of a look-up: the keys found, whether keys are required at all, and the pepper's fingerprint.

    `remembered` marks a cached result.
    """

    found: list[ApiKey]
    mark: str | None
    remembered: bool = False

    @property
    def asked_for(self) -> bool:
        """Whether keys are required: once one has been made, every caller must send one, even when all are revoked."""
        return self.mark is not None
