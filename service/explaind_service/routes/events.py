"""GET /jobs/{id}/events: a job's events as they happen (SSE)."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from explaind.contract.errors import InvalidRequest, JobNotFound, TooManyStreams
from explaind_service.auth.caller import Reader
from explaind_service.dependencies import FromApp, JobId
from explaind_service.errors.openapi_responses import problem_responses
from explaind_service.events.entries import StreamId, place_of
from explaind_service.events.event_stream import EventStreamWriter, StreamStart
from explaind_service.events.hub import Hub
from explaind_service.events.response import EventStream

router = APIRouter(prefix="/jobs", tags=["jobs"])

LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        description="Id of the event to resume after. A value that is not the id of a kept event is ignored.",
        examples=["1795248444341-0"],
    ),
]
Seconds = Annotated[
    float | None,
    Query(gt=0, le=86_400, description="Maximum seconds until the stream ends, even if the job has not ended."),
]

# One event of the stream; its data is JSON in a string.
EVENTS = {
    "text/event-stream": {
        "schema": {
            "type": "object",
            "properties": {
                "event": {"enum": ["job", "queue", "state", "progress", "end", "gone"]},
                "data": {"type": "string", "contentMediaType": "application/json"},
                "id": {"type": "string"},
                "retry": {"type": "integer"},
            },
        }
    }
}


@router.get(
    "/{job_id}/events",
    operation_id="follow_job",
    summary="Follow a job",
    status_code=200,
    response_class=EventStream,
    responses={
        **problem_responses(JobNotFound, InvalidRequest, TooManyStreams),
        200: {"description": "The events, as they happen.", "content": EVENTS},
        204: {"description": "The job has ended, and `Last-Event-ID` is the id of its end event."},
    },
)
async def follow_job(
    resources: FromApp, caller: Reader, job_id: JobId, last_event_id: LastEventId = None, seconds: Seconds = None
) -> Response:
    """Server-sent events: `job` (the whole job, without its result), then `state`, `progress` and, while it waits,
    `queue`, and finally `end` with the ended job, or `gone` where it was deleted. With `Last-Event-ID` a stream resumes
    after that event; if the event is too old, the stream begins again with `job`.
    """
    look = partial(resources.store.follow, job_id, caller.sees)
    job, last = await look()
    if job.state.terminal and last_event_id is not None and place_of(last_event_id) == place_of(last):
        return Response(status_code=204)  # makes a browser stop reconnecting
    resumed = await _resumed(resources.hub, job_id, last_event_id)
    beginning = StreamStart(job, last, resumed)
    settings = resources.settings
    lasts_s = min(seconds or settings.max_stream_s, settings.max_stream_s)
    teller = EventStreamWriter(resources.hub, look, beginning, ping_s=settings.ping_s, seconds=lasts_s)
    return EventStream(resources.hub, resources.streams, beginning, teller)


async def _resumed(hub: Hub, job_id: str, last_event_id: str | None) -> StreamId | None:
    """The stream id of the client's last event, if that event is still stored."""
    place = place_of(last_event_id or "")
    return place if place is not None and await hub.holds(job_id, place) else None
