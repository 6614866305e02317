"""SSE frames that the service itself creates, beside the stored events."""

import json
import secrets
from typing import Any

from fastapi.sse import format_sse_event

from explaind.contract.errors import ExplaindError
from explaind.contract.job import Job
from explaind_service.events.entries import StreamId, id_of

RETRY_MS = 1000
# Spreads the reconnections of clients after a restart.
RETRY_SPREAD_MS = 2000

PING = format_sse_event(comment="ping")


def job_frame(job: Job[Any], place: StreamId) -> bytes:
    """`job`: the whole job, and the id to resume from."""
    data = job.model_dump_json(exclude={"result"})
    return format_sse_event(event="job", data_str=data, id=id_of(place), retry=RETRY_MS)


def queue_frame(job: Job[Any]) -> bytes:
    """`queue`: queue position and estimated start. Without an id: it cannot be resumed from."""
    data = json.dumps({"queue_position": job.queue_position, "starts_in_s": job.starts_in_s})
    return format_sse_event(event="queue", data_str=data)


def end_frame(job: Job[Any], place: StreamId) -> bytes:
    """`end`: the ended job; the last frame."""
    return format_sse_event(event="end", data_str=job.model_dump_json(exclude={"result"}), id=id_of(place))


def gone_frame(error: ExplaindError) -> bytes:
    """`gone`: the job was deleted; also a last frame."""
    return format_sse_event(event="gone", data_str=error.problem().model_dump_json())


def farewell() -> bytes:
    """Sent at shutdown: when to reconnect."""
    return format_sse_event(retry=RETRY_MS + secrets.randbelow(RETRY_SPREAD_MS))
