"""Events of a job, read from server-sent events or from two successive states."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from explaind.contract.errors import Problem, error_from
from explaind.contract.job import Job, JobState, Progress
from explaind.protocol.sse import ServerSentEvent

EventKind = Literal["job", "state", "progress", "queue", "end"]


@dataclass(frozen=True)
class JobEvent:
    """An event of a job; `job` is its state after the event.

    Kinds: `job` (its state when following began), `state`, `progress`, `queue` (queue position, or estimated start)
    and, as the last one, `end`, whose `job` has the result or the error.
    """

    kind: EventKind
    job: Job[Any]

    @property
    def progress(self) -> Progress | None:
        """The job's progress."""
        return self.job.progress


def event_of(current: Job[Any], message: ServerSentEvent) -> JobEvent | None:
    """The event of a stream's message, applied to `current`, the job as last seen.

    None for an unknown event type.

    Raises:
        ExplaindError: the job was deleted.
        ValueError: its data is malformed.
    """
    match message.type:
        case "job":
            return JobEvent("job", Job[Any].model_validate_json(message.data))
        case "end":
            return JobEvent("end", Job[Any].model_validate_json(message.data))
        case "progress":
            progress = Progress.model_validate_json(message.data)
            return JobEvent("progress", current.model_copy(update={"progress": progress}))
        case "state":
            return JobEvent("state", _moved(current, _object(message)))
        case "queue":
            place = {name: _object(message).get(name) for name in ("queue_position", "starts_in_s")}
            return JobEvent("queue", current.model_copy(update=place))
        case "gone":
            raise error_from(Problem.model_validate_json(message.data))
        case _:
            return None


def change(before: Job[Any], after: Job[Any]) -> JobEvent | None:
    """The event between two successive states of a job; None when nothing has changed."""
    if _visible(before) == _visible(after):
        return None
    if after.state.terminal:
        return JobEvent("end", after)
    if (before.state, before.attempt) != (after.state, after.attempt):
        return JobEvent("state", after)
    return JobEvent("progress" if before.progress != after.progress else "queue", after)


def _moved(current: Job[Any], data: dict[str, Any]) -> Job[Any]:
    state = JobState(data["state"])
    update: dict[str, Any] = {"state": state, "attempt": int(data.get("attempt", current.attempt))}
    if state is JobState.QUEUED:  # the progress of the ended attempt
        update |= {"progress": None, "started_at": None}
    else:
        update |= {"queue_position": None, "starts_in_s": None}
    return current.model_copy(update=update)


def _object(message: ServerSentEvent) -> dict[str, Any]:
    found = json.loads(message.data)
    if not isinstance(found, dict):
        raise ValueError(f"The data of a {message.type} event is no object.")
    return found


def _visible(seen: Job[Any]) -> tuple[object, ...]:
    return seen.state, seen.attempt, seen.progress, seen.queue_position, seen.starts_in_s
