"""What service, store and worker hand each other about a job."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from explaind.contract.errors import Problem
from explaind.contract.job import JobState, Provenance, Timing


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be accepted. `request` is JSON that was validated against the contract."""

    method: str
    model: str
    queue: str
    request: bytes
    metadata: dict[str, str] = field(default_factory=dict)
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Created:
    """An accepted job; `existing` when its idempotency key named a job that was there already."""

    id: str
    existing: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's right to run a job. `attempt` fences it: only the newest attempt may report."""

    id: str
    attempt: int
    method: str
    model: str
    request: bytes
    queued_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: succeeded with a result (JSON), failed with a problem, or cancelled."""

    state: JobState
    result: bytes | None = None
    error: Problem | None = None
    provenance: Provenance | None = None
    timing: Timing | None = None

    def __post_init__(self) -> None:
        if not self.state.terminal:
            raise ValueError(f"A job does not end {self.state.value}.")


class Standing(StrEnum):
    """What a worker's job is, as the store sees it."""

    HELD = "held"
    CANCEL = "cancel"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A live worker. `models` are in its memory, `loading` on the way; `instance` is new at each start."""

    name: str
    instance: str
    queues: list[str]
    models: list[str]
    loading: list[str]
    slots: int
    started_at: datetime
