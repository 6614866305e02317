"""Following a job: by events, again where they break off, and by asking where they cannot be had."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from explaind import AsyncClient, Client
from explaind._async.jobs import AsyncJobHandle
from explaind._sync.jobs import JobHandle
from explaind.contract.errors import JobNotFound, StoreUnavailable, TooManyStreams, WaitTimeout
from explaind.contract.job import Job
from explaind.protocol.follow import SILENCE_S

ASK = {"model": "demo", "prompt": "great food"}
HALF = {"phase": "evaluating", "done": 8, "total": 16, "unit": "coalitions"}


@dataclass
class Frames(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that comes in these chunks, and may break off with an error."""

    chunks: list[bytes]
    error: Exception | None = None
    after: Callable[[], object] | None = None
    closed: int = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.chunks:
            yield chunk
            if self.after is not None:
                self.after()
        if self.error is not None:
            raise self.error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            await asyncio.sleep(0)
            yield chunk

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        self.closed += 1


def frame(kind: str, data: Any, event_id: str = "") -> bytes:
    named = f"id: {event_id}\n" if event_id else ""
    return f"event: {kind}\n{named}data: {json.dumps(data)}\n\n".encode()


@dataclass
class Service:
    """A service whose job goes through a life that is written down; a stream breaks off after so many frames."""

    life: list[bytes]
    final: dict[str, Any]
    breaks_after: int = 1000
    error: Exception | None = None
    asked: list[httpx.Request] = field(default_factory=list)
    streams: list[Frames] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if not request.url.path.endswith("/events"):
            return httpx.Response(200, json=self.final)
        seen = request.headers.get("last-event-id")
        rest = self.life[1 + int(seen) :] if seen else self.life
        error = self.error if len(rest) > self.breaks_after else None
        self.streams.append(Frames(rest[: self.breaks_after], error))
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=self.streams[-1])


@pytest.fixture
def waiting(job_json) -> dict[str, Any]:
    """A job that waits, of a service that has events."""
    job = job_json("queued", queue_position=2)
    return {**job, "links": {**job["links"], "events": f"{job['links']['self']}/events"}}


@pytest.fixture
def service(waiting, attribution_json) -> Service:
    def now(state: str, **fields: Any) -> dict[str, Any]:
        return {**waiting, "state": state, "queue_position": None, **fields}

    life = [
        frame("job", waiting, "0"),
        frame("state", {"state": "running", "attempt": 1}, "1"),
        *(frame("progress", {**HALF, "done": done}, str(done + 2)) for done in range(16)),
        frame("end", now("succeeded", attempt=1, progress={**HALF, "done": 15}), "18"),
    ]
    final = now("succeeded", attempt=1, progress={**HALF, "done": 15}, result=attribution_json)
    return Service(life, final)


@pytest.fixture
def follower(clock, monkeypatch) -> Iterator[Callable[..., Client]]:
    """A client of a scripted service on the fake clock."""
    made: list[Client] = []

    def connect(answers: Callable[[httpx.Request], httpx.Response]) -> Client:
        client = Client("http://explaind.test", transport=httpx.MockTransport(answers))
        client.driver.policy = type(client.driver.policy)(clock=clock, jitter=lambda: 1.0)
        client.driver.sleep = clock.sleep
        made.append(client)
        return client

    yield connect
    for client in made:
        client.close()


def handle_of(client: Client, job: dict[str, Any]) -> Any:
    return JobHandle(client.driver, Job[Any].model_validate(job))


def told(events: list[Any]) -> list[tuple[str, str, int | None]]:
    return [(event.kind, event.job.state.value, event.progress and event.progress.done) for event in events]


WHOLE_LIFE = [
    ("job", "queued", None),
    ("state", "running", None),
    *(("progress", "running", done) for done in range(16)),
    ("end", "succeeded", 15),
]


def test_everything_that_happens_is_told_once(follower, service, waiting):
    handle = handle_of(follower(service), waiting)
    events = list(handle.events())
    assert told(events) == WHOLE_LIFE
    assert handle.job.result.values[0] == 1.5
    assert len(service.asked) == 2, "one stream, and the job with its result at its end"
    assert service.asked[0].headers["accept"] == "text/event-stream"


@pytest.mark.parametrize("error", [None, httpx.ReadError("cut"), httpx.RemoteProtocolError("cut")])
@pytest.mark.parametrize("breaks_after", [1, 2, 5])
def test_a_stream_that_breaks_off_is_taken_up_again(follower, service, waiting, clock, breaks_after: int, error):
    service.breaks_after, service.error = breaks_after, error
    assert told(list(handle_of(follower(service), waiting).events())) == WHOLE_LIFE
    seen = [request.headers.get("last-event-id") for request in service.asked[:-1]]
    assert seen == [None, *(str(k) for k in range(breaks_after - 1, 18, breaks_after))]
    assert len(clock.slept) == len(seen) - 1
    assert set(clock.slept) == {0.25}, "what brings news costs no patience"
    assert all(stream.closed for stream in service.streams)


def test_the_service_says_how_long_to_wait(follower, service, waiting, clock):
    service.life[0] = b"retry: 1700\n" + service.life[0]
    service.breaks_after = 10
    list(handle_of(follower(service), waiting).events())
    assert clock.slept[0] == 1.7


async def test_async_is_the_same(service, waiting, clock):
    service.breaks_after, service.error = 5, httpx.ReadError("cut")
    async with AsyncClient("http://explaind.test", transport=httpx.MockTransport(service)) as client:
        client.driver.policy = type(client.driver.policy)(clock=clock, jitter=lambda: 1.0)
        client.driver.sleep = clock.asleep
        handle = AsyncJobHandle(client.driver, Job[Any].model_validate(waiting))
        assert told([event async for event in handle.events()]) == WHOLE_LIFE
    assert all(stream.closed for stream in service.streams)


async def test_an_async_loop_that_is_left_closes_the_connection(service, waiting):
    async with AsyncClient("http://explaind.test", transport=httpx.MockTransport(service)) as client:
        handle = AsyncJobHandle(client.driver, Job[Any].model_validate(waiting))
        async with aclosing(handle.events()) as events:
            async for event in events:
                if event.kind == "progress":
                    break
        assert service.streams[0].closed


def test_a_loop_that_is_left_closes_the_connection(follower, service, waiting):
    for event in handle_of(follower(service), waiting).events():
        if event.kind == "progress":
            break
    assert service.streams[0].closed


def test_an_interrupt_closes_the_connection(follower, service, waiting):
    def interrupt(job: Job[Any]) -> None:
        if job.progress is not None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        handle_of(follower(service), waiting).wait(on_progress=interrupt)
    assert service.streams[0].closed


def test_a_place_in_the_queue_is_told(follower, service, waiting):
    service.life[1:1] = [frame("queue", {"queue_position": 1, "starts_in_s": 4.5})]
    events = list(handle_of(follower(service), waiting).events())
    assert events[1].kind == "queue"
    assert (events[1].job.queue_position, events[1].job.starts_in_s) == (1, 4.5)
    assert (events[2].job.queue_position, events[2].job.starts_in_s) == (None, None)


def test_a_job_that_goes_back_to_the_queue_forgets_its_progress(follower, service, waiting):
    service.life[4:4] = [
        frame("state", {"state": "queued", "attempt": 1}),
        frame("state", {"state": "running", "attempt": 2}),
    ]
    events = list(handle_of(follower(service), waiting).events())
    assert told(events)[4:6] == [("state", "queued", None), ("state", "running", None)]
    assert events[5].job.attempt == 2


def test_what_a_newer_service_tells_is_passed_over(follower, service, waiting):
    service.life[1:1] = [frame("weather", {"sun": True}), b": ping\n\n", b"retry: 5\n\n"]
    assert told(list(handle_of(follower(service), waiting).events())) == WHOLE_LIFE


def polled(
    service: Service, refuse: Callable[[httpx.Request], httpx.Response]
) -> Callable[[httpx.Request], httpx.Response]:
    """The service, but its events are as `refuse` has them, and the job ends at the third look."""
    looks: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events"):
            service.asked.append(request)
            return refuse(request)
        looks.append(1)
        if len(looks) < 3:
            return httpx.Response(200, json={**service.final, "state": "running", "result": None})
        return service(request)

    return answer


def problem(error: Any) -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(error.problem().status, content=error.problem().model_dump_json())


def page(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, text="<html>", headers={"content-type": "text/html"})


@pytest.mark.parametrize(
    "refuse",
    [
        lambda _: httpx.Response(404, text="no such route"),
        lambda _: httpx.Response(405, text="no"),
        lambda _: httpx.Response(406, text="no"),
        problem(TooManyStreams("Full.")),
        page,
        lambda _: httpx.Response(
            200, headers={"content-type": "text/event-stream"}, content=b"event: job\ndata: {}\n\n"
        ),
    ],
    ids=["no-route", "405", "406", "full", "page", "nonsense"],
)
def test_where_events_cannot_be_had_the_job_is_asked_for(follower, service, waiting, refuse):
    events = list(handle_of(follower(polled(service, refuse)), waiting).events())
    assert [(kind, state) for kind, state, _ in told(events)] == [
        ("job", "queued"),
        ("state", "running"),
        ("end", "succeeded"),
    ]
    assert sum(request.url.path.endswith("/events") for request in service.asked) == 1


def test_a_proxy_that_holds_everything_back(follower, service, waiting, clock):
    patience: list[float] = []

    def silent(request: httpx.Request) -> httpx.Response:
        patience.append(request.extensions["timeout"]["read"])
        clock.now += patience[-1]
        raise httpx.ReadTimeout("nothing came", request=request)

    assert handle_of(follower(polled(service, silent)), waiting).wait().state == "succeeded"
    assert patience == [SILENCE_S]


def test_a_stream_that_falls_silent_is_taken_up_again(follower, service, waiting):
    service.breaks_after, service.error = 4, httpx.ReadTimeout("nothing came")
    assert told(list(handle_of(follower(service), waiting).events())) == WHOLE_LIFE


def test_a_service_that_restarts_is_waited_for(follower, service, waiting):
    answers: list[Any] = [
        httpx.ConnectError("refused"),
        httpx.Response(502, text="bad gateway"),
        httpx.Response(503, content=StoreUnavailable("Down.").problem().model_dump_json()),
    ]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events") and answers:
            reply = answers.pop(0)
            if isinstance(reply, Exception):
                raise reply
            return reply
        return service(request)

    assert told(list(handle_of(follower(answer), waiting).events())) == WHOLE_LIFE


def test_a_job_that_is_not_there(follower, service, waiting):
    with pytest.raises(JobNotFound):
        list(handle_of(follower(polled(service, problem(JobNotFound("No.")))), waiting).events())


def test_a_job_that_is_deleted_while_it_is_followed(follower, service, waiting):
    service.life[3:] = [frame("gone", JobNotFound("Deleted.").problem().model_dump())]
    with pytest.raises(JobNotFound, match="Deleted"):
        list(handle_of(follower(service), waiting).events())
    assert service.streams[0].closed


def test_an_end_that_was_heard_already(follower, service, waiting):
    handle = handle_of(follower(polled(service, lambda _: httpx.Response(204))), waiting)
    assert handle.wait().state == "succeeded"


def test_a_wait_that_is_too_long(follower, service, waiting, clock):
    def stream(request: httpx.Request) -> httpx.Response:
        left = float(request.url.params["seconds"])
        assert request.extensions["timeout"]["read"] == pytest.approx(min(SILENCE_S, left + 1))

        def later() -> None:
            clock.now += 2

        frames = Frames(service.life, after=later)
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=frames)

    handle = handle_of(follower(stream), waiting)
    began = clock.now
    with pytest.raises(WaitTimeout):
        handle.wait(timeout=5)
    assert clock.now - began <= 6
    assert handle.state == "running"


def test_nothing_is_listened_to_when_there_is_no_time(follower, service, waiting):
    service.final = waiting
    with pytest.raises(WaitTimeout):
        handle_of(follower(service), waiting).wait(timeout=0)
    assert [request.url.path.endswith("/events") for request in service.asked] == [False]


def test_a_job_that_has_ended_is_told_without_asking(follower, service):
    handle = handle_of(follower(service), service.final)
    assert told(list(handle.events())) == [("end", "succeeded", 15)]
    assert service.asked == []
