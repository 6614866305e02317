"""What happens to a job, as those who follow it are told."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from explaind.contract.errors import Problem, error_from
from explaind.contract.job import Job, JobState, Progress
from explaind.protocol.sse import ServerSentEvent

EventKind = Literal["job", "state", "progress", "queue", "end"]


@dataclass(frozen=True)
class JobEvent:
    """Something that happened to a job; `job` is how it stands after that.

    Kinds: `job` (how it stood when following began), `state`, `progress`, `queue` (its place, or when it may start)
    and, as the last one, `end`; then `job` holds the result or the error.
    """

    kind: EventKind
    job: Job[Any]

    @property
    def progress(self) -> Progress | None:
        """How far the job is."""
        return self.job.progress


def event_of(current: Job[Any], told: ServerSentEvent) -> JobEvent | None:
    """What the service has told of the job that was last seen as `current`.

    None for what this version does not know.

    Raises:
        ExplaindError: the job has gone.
        ValueError: it is not what the service writes.
    """
    match told.type:
        case "job":
            return JobEvent("job", Job[Any].model_validate_json(told.data))
        case "end":
            return JobEvent("end", Job[Any].model_validate_json(told.data))
        case "progress":
            progress = Progress.model_validate_json(told.data)
            return JobEvent("progress", current.model_copy(update={"progress": progress}))
        case "state":
            return JobEvent("state", _moved(current, _object(told)))
        case "queue":
            place = {name: _object(told).get(name) for name in ("queue_position", "starts_in_s")}
            return JobEvent("queue", current.model_copy(update=place))
        case "gone":
            raise error_from(Problem.model_validate_json(told.data))
        case _:
            return None


def change(before: Job[Any], after: Job[Any]) -> JobEvent | None:
    """What has happened between two looks at a job; None when nothing has."""
    if _face(before) == _face(after):
        return None
    if after.state.terminal:
        return JobEvent("end", after)
    if (before.state, before.attempt) != (after.state, after.attempt):
        return JobEvent("state", after)
    return JobEvent("progress" if before.progress != after.progress else "queue", after)


def _moved(current: Job[Any], told: dict[str, Any]) -> Job[Any]:
    state = JobState(told["state"])
    update: dict[str, Any] = {"state": state, "attempt": int(told.get("attempt", current.attempt))}
    if state is JobState.QUEUED:  # what an attempt that is over had reached
        update |= {"progress": None, "started_at": None}
    else:
        update |= {"queue_position": None, "starts_in_s": None}
    return current.model_copy(update=update)


def _object(told: ServerSentEvent) -> dict[str, Any]:
    found = json.loads(told.data)
    if not isinstance(found, dict):
        raise ValueError(f"The data of a {told.type} event is no object.")
    return found


def _face(seen: Job[Any]) -> tuple[object, ...]:
    return seen.state, seen.attempt, seen.progress, seen.queue_position, seen.starts_in_s
