"""Records about a job that service, store and worker exchange."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from explaind.contract.errors import Problem
from explaind.contract.job import Job, JobState, Priority, Progress, Provenance, Timing

# Callers of the store: an API key's id sees that key's jobs, ANONYMOUS those submitted without a key, ANYONE all.
ANONYMOUS = ""
ANYONE = "*"


@dataclass(frozen=True, slots=True)
class Allowance:
    """Limits of one API key; 0 means no limit of its own."""

    requests_per_minute: int = 0
    burst: int = 1
    max_queued: int = 0
    max_running: int = 0


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be accepted. `request` is JSON, validated against the contract.

    `key` is the id of the submitting API key, `cache_key` a digest of everything the result depends on beside the
    model's revision (None: not cached), `webhook` the contract's Webhook as JSON.
    """

    method: str
    model: str
    queue: str
    request: bytes
    metadata: dict[str, str] = field(default_factory=dict)
    idempotency_key: str | None = None
    key: str = ANONYMOUS
    allowance: Allowance = Allowance()
    priority: Priority = "normal"
    timeout_s: float | None = None
    keep_s: int | None = None
    webhook: str | None = None
    request_id: str | None = None
    trace: str | None = None
    cache_key: str | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """What is left of a key's rate limit: requests available now, and seconds until it is full again."""

    limit: int
    remaining: int
    reset_s: float


@dataclass(frozen=True, slots=True)
class Created:
    """An accepted job, and the id of its latest event; `existing` if its idempotency key named an earlier job."""

    job: Job[Any]
    last: str
    existing: bool = False

    @property
    def id(self) -> str:
        """The job's id."""
        return self.job.id


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's right to run a job. `attempt` fences it: only the newest attempt may report.

    `suspect`: a worker died while it ran this job, so it runs alone.
    """

    id: str
    attempt: int
    method: str
    model: str
    request: bytes
    queued_s: float
    suspect: bool = False
    timeout_s: float | None = None
    key: str = ANONYMOUS
    request_id: str | None = None
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: succeeded with a result (JSON), failed with a problem, or cancelled, perhaps with a part of it.

    `revision` names the very weights that the result was computed with; with it, it may answer the same request again.
    `progress` is the last one, told before the end.
    """

    state: JobState
    result: bytes | None = None
    error: Problem | None = None
    provenance: Provenance | None = None
    timing: Timing | None = None
    revision: str | None = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if not self.state.terminal:
            raise ValueError(f"A job does not end {self.state.value}.")


class LeaseStatus(StrEnum):
    """Status of a worker's lease on a job, as the store sees it."""

    HELD = "held"
    CANCEL = "cancel"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A live worker. `models` are in its memory, `loading` being loaded; `instance` is new at each start.

    `revisions` identifies the weights of each loaded model, `gauges` are its values in /metrics.
    """

    name: str
    instance: str
    queues: list[str]
    models: list[str]
    loading: list[str]
    slots: int
    started_at: datetime
    revisions: Mapping[str, str] = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoreStats:
    """State of the store as a whole, for /metrics.

    `depths` counts waiting jobs by (queue, model), `ages` is the age in seconds of a queue's oldest job,
    `waiting_bytes` the size of all waiting requests, `counters` the scripts' counters by name and labels.
    """

    depths: Mapping[tuple[str, str], int]
    ages: Mapping[str, float]
    running: int
    outbox: int
    counters: Mapping[tuple[str, ...], float]
    waiting_bytes: int = 0
