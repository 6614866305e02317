"""Parses a script's view of a job into the contract's Job."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import from_json

from explaind.contract.errors import JobNotFound, Problem
from explaind.contract.job import Job, JobCard, JobState, Links, Priority, Progress, Provenance, Timing, WebhookStatus

# The order of a view in view.lua; `common` is the part of the provenance shared with other jobs.
FIELDS = (
    "id",
    "state",
    "method",
    "model",
    "created",
    "started",
    "finished",
    "expires",
    "attempt",
    "progress",
    "error",
    "provenance",
    "timing",
    "metadata",
    "priority",
    "cached",
    "webhook_status",
    "position",
    "starts_in",
    "common",
)
# Fields that differ between jobs of one model, method and worker.
OWN_PROVENANCE = frozenset({"seed", "token_ids"})

_metadata = TypeAdapter(dict[str, str])
_priority = TypeAdapter[Priority](Priority)


def job_or_missing(job_id: str, reply: Any) -> Job[Any]:
    """The job in a script's reply.

    Raises:
        JobNotFound: the reply contains none.
    """
    if reply is None:
        raise not_found(job_id)
    return job_from(reply)


def job_from(reply: Sequence[bytes]) -> Job[Any]:
    """The job of a view."""
    row = dict(zip(FIELDS, (field.decode() for field in reply), strict=True))
    return Job[Any](
        id=row["id"],
        method=row["method"],
        model=row["model"],
        state=JobState(row["state"]),
        created_at=_time(row["created"]) or datetime.fromtimestamp(0, UTC),
        started_at=_time(row["started"]),
        finished_at=_time(row["finished"]),
        expires_at=_time(row["expires"]),
        progress=Progress.model_validate_json(row["progress"]) if row["progress"] else None,
        priority=_priority.validate_python(row["priority"] or "normal"),
        cached=row["cached"] == "1",
        queue_position=int(row["position"]) if row["position"] else None,
        starts_in_s=float(row["starts_in"]) if row["starts_in"] else None,
        attempt=int(row["attempt"]),
        error=Problem.model_validate_json(row["error"]) if row["error"] else None,
        provenance=_provenance(row["provenance"], row["common"]),
        timing=Timing.model_validate_json(row["timing"]) if row["timing"] else None,
        metadata=_metadata.validate_json(row["metadata"]) if row["metadata"] else {},
        webhook=WebhookStatus.model_validate_json(row["webhook_status"]) if row["webhook_status"] else None,
        links=links(row["id"]),
    )


def card_from(reply: Sequence[bytes]) -> JobCard:
    """The job of one view, as it stands in a list."""
    row = dict(zip(FIELDS, (field.decode() for field in reply), strict=True))
    return JobCard(
        id=row["id"],
        method=row["method"],
        model=row["model"],
        state=JobState(row["state"]),
        cached=row["cached"] == "1",
        created_at=_time(row["created"]) or datetime.fromtimestamp(0, UTC),
        finished_at=_time(row["finished"]),
        progress=Progress.model_validate_json(row["progress"]) if row["progress"] else None,
        error_code=from_json(row["error"])["code"] if row["error"] else None,
        metadata=_metadata.validate_json(row["metadata"]) if row["metadata"] else {},
        links=links(row["id"]),
    )


def split_provenance(provenance: Provenance | None) -> tuple[str, str]:
    """Provenance in two parts, the job's own and that shared with other jobs, as JSON; "" twice if there is none."""
    if provenance is None:
        return "", ""
    return (
        provenance.model_dump_json(include=set(OWN_PROVENANCE), exclude_none=True),
        provenance.model_dump_json(exclude=set(OWN_PROVENANCE), exclude_none=True),
    )


def _provenance(own: str, common: str) -> Provenance | None:
    return Provenance.model_validate({**from_json(common), **from_json(own)}) if own and common else None


def links(job_id: str) -> Links:
    """URLs of a job and its parts."""
    path = f"/jobs/{job_id}"
    return Links(
        self=path, result=f"{path}/result", report=f"{path}/report", cancel=f"{path}/cancel", events=f"{path}/events"
    )


def _time(ms: str) -> datetime | None:
    return datetime.fromtimestamp(int(ms) / 1000, UTC) if ms else None


def not_found(job_id: str) -> JobNotFound:
    """The error for a job that does not exist (any more)."""
    return JobNotFound(
        f"There is no job {job_id!r}.",
        hint="Jobs are deleted a while after their end; GET /jobs lists those kept.",
    )
