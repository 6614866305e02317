"""A job followed over HTTP: what comes, in which order, and how it ends."""

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from explaind.contract.errors import OutOfMemory
from explaind.contract.job import Job, Progress
from explaind.protocol.sse import EventParser, ServerSentEvent
from explaind_jobs.store.transitions import events_key
from explaind_service.events import event_stream, response, subscription
from explaind_service.events.hub import PAGE
from tests.support.apps import create_app

UNKNOWN = "job_" + "0" * 26


@dataclass
class Followed:
    """A stream as a client reads it."""

    response: httpx.Response
    parser: EventParser = field(default_factory=EventParser)

    async def events(self) -> AsyncIterator[ServerSentEvent]:
        """Its events; ends with the stream."""
        async for chunk in self.response.aiter_raw():
            for event in self.parser.feed(chunk):
                yield event

    async def first(self, number: int) -> list[ServerSentEvent]:
        """Some of its events."""
        found: list[ServerSentEvent] = []
        async with aclosing(self.events()) as events:
            async for event in events:
                found.append(event)
                if len(found) == number:
                    break
        return found

    async def all(self) -> list[ServerSentEvent]:
        """All its events."""
        return [event async for event in self.events()]


Follow = Callable[..., Any]


@pytest.fixture
async def live(app, serving) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture
def follow(live: httpx.AsyncClient) -> Follow:
    @asynccontextmanager
    async def open_stream(job_id: str, last: str | None = None, **query: Any) -> AsyncIterator[Followed]:
        headers = {} if last is None else {"Last-Event-ID": last}
        async with live.stream("GET", f"/jobs/{job_id}/events", headers=headers, params=query) as response:
            if response.status_code >= 300:
                await response.aread()
            yield Followed(response)

    return open_stream


@pytest.fixture
def submit(live: httpx.AsyncClient, shap) -> Callable[[], Awaitable[str]]:
    async def send() -> str:
        response = await live.post("/explain/shap", json=shap, headers={"Cache-Control": "no-cache"})
        assert response.status_code == 202
        return response.json()["id"]

    return send


def step(worker, claim, done: int) -> None:
    worker.store.progress(claim.id, claim.attempt, Progress(phase="evaluating", done=done, total=100, unit="rows"))


async def test_the_whole_life_of_a_job(follow, submit, worker) -> None:
    job_id = await submit()
    async with follow(job_id) as followed:
        headers = followed.response.headers
        assert headers["content-type"].startswith("text/event-stream")
        assert headers["cache-control"] == "no-cache"
        assert headers["x-accel-buffering"] == "no"
        assert headers["x-request-id"]
        (first,) = await followed.first(1)
    snapshot = Job[Any].model_validate_json(first.data)
    assert (first.type, snapshot.id, snapshot.state, snapshot.queue_position) == ("job", job_id, "queued", 0)
    async with follow(job_id) as followed:
        reading = asyncio.create_task(followed.all())
        await asyncio.sleep(0)
        claim = await asyncio.to_thread(worker.claim)
        await asyncio.to_thread(step, worker, claim, 7)
        await asyncio.to_thread(worker.end, claim, b'{"kind": "attribution"}')
        events = await reading
    assert [event.type for event in events][-3:] == ["state", "progress", "end"]
    assert json.loads(events[-3].data) == {"state": "running", "attempt": 1}
    assert json.loads(events[-2].data)["done"] == 7
    ended = json.loads(events[-1].data)
    assert (ended["state"], ended["progress"]["done"], "result" in ended) == ("succeeded", 7, False)
    assert all(event.id for event in events)
    assert followed.parser.retry_s == 1


async def test_a_job_that_has_ended_is_told_and_over(follow, submit, worker) -> None:
    job_id = await submit()
    worker.fail(OutOfMemory("No room."))
    async with follow(job_id) as followed:
        events = await followed.all()
    assert [event.type for event in events] == ["job", "end"]
    assert json.loads(events[-1].data)["error"]["code"] == "out_of_memory"
    async with follow(job_id, events[-1].id) as again:
        assert again.response.status_code == 204, "a browser would come back for ever"


async def test_a_job_whose_events_have_gone_is_told_and_over(follow, submit, worker, valkey, settings) -> None:
    job_id = await submit()
    async with follow(job_id) as followed:
        (first,) = await followed.first(1)
    worker.succeed()
    valkey.delete(events_key(settings, job_id))
    for last in (None, first.id):
        async with follow(job_id, last) as followed:
            events = await followed.all()
        assert [event.type for event in events] == ["job", "end"]
    async with follow(job_id, events[-1].id) as again:
        assert again.response.status_code == 204


async def test_a_hundred_reconnects_lose_nothing_and_repeat_nothing(follow, submit, worker) -> None:
    job_id = await submit()
    claim = worker.claim()
    rng = random.Random(7)

    def compute() -> None:
        for done in range(400):
            step(worker, claim, done)
        worker.end(claim, b"{}")

    computing: asyncio.Future[None] | None = None
    seen: list[ServerSentEvent] = []
    reconnects = 0
    while not seen or seen[-1].type != "end":
        async with follow(job_id, seen[-1].id if seen else None) as followed:
            computing = computing or asyncio.ensure_future(asyncio.to_thread(compute))
            # Some after each connection, so that there are at least a hundred of them.
            seen += await followed.first(rng.randint(1, 6))
        reconnects += 1
    assert computing is not None
    await computing
    assert reconnects >= 100
    told = [json.loads(event.data)["done"] for event in seen if event.type == "progress"]
    assert told == list(range(400))
    assert [event.type for event in seen if event.type != "progress"] == ["job", "end"]


async def test_what_was_missed_may_be_longer_than_a_page(follow, submit, worker) -> None:
    job_id = await submit()
    async with follow(job_id) as followed:
        (seen,) = await followed.first(1)
    claim = worker.claim()
    for done in range(PAGE + 50):
        step(worker, claim, done)
    worker.end(claim, b"{}")
    async with follow(job_id, seen.id) as followed:
        events = await followed.all()
    told = [json.loads(event.data)["done"] for event in events if event.type == "progress"]
    assert told == list(range(PAGE + 50))
    assert events[-1].type == "end"


async def test_what_was_trimmed_away_begins_anew(follow, submit, worker, valkey, settings) -> None:
    job_id = await submit()
    async with follow(job_id) as followed:
        (first,) = await followed.first(1)
    claim = worker.claim()
    for done in range(5):
        step(worker, claim, done)
    valkey.xtrim(events_key(settings, job_id), maxlen=2, approximate=False)
    async with follow(job_id, first.id) as followed:
        (again,) = await followed.first(1)
    assert again.type == "job"
    assert json.loads(again.data)["progress"]["done"] == 4


@pytest.mark.parametrize("last", ["garbage", "1-", "99999999999999999999999-0", "0-0", "17-3", "é"])
async def test_an_id_that_is_none_is_ignored(live, submit, last: str) -> None:
    path = f"/jobs/{await submit()}/events"
    headers = {"Last-Event-ID": last.encode()}
    async with live.stream("GET", path, headers=headers, params={"seconds": 0.01}) as response:
        assert response.status_code == 200
        assert (await Followed(response).all())[0].type == "job"


async def test_the_place_in_the_queue_is_told_when_it_changes(follow, submit, worker, monkeypatch) -> None:
    monkeypatch.setattr(event_stream, "LOOK_S", 0.05)
    await submit()
    job_id = await submit()
    async with follow(job_id) as followed:
        events = followed.events()
        snapshot = await anext(events)
        assert json.loads(snapshot.data)["queue_position"] == 1
        await asyncio.sleep(0.2)  # looked at several times: it does not change, so nothing is said
        await asyncio.to_thread(worker.claim)
        moved = await anext(events)
        assert (moved.type, json.loads(moved.data)["queue_position"]) == ("queue", 0)
        assert moved.id == snapshot.id, "a place is nothing to go on from"
        await asyncio.to_thread(worker.claim)
        assert (await anext(events)).type == "state"
        await events.aclose()


async def test_pings_keep_a_silent_stream_alive(settings, serving, shap) -> None:
    settings.ping_s = 0.05
    async with serving(create_app(settings)) as url, httpx.AsyncClient(base_url=url, trust_env=False) as live:
        job_id = (await live.post("/explain/shap", json=shap)).json()["id"]
        async with live.stream("GET", f"/jobs/{job_id}/events") as response:
            text = ""
            async for chunk in response.aiter_text():
                text += chunk
                if text.count(": ping\n\n") == 3:
                    break


async def test_a_deleted_job_ends_the_stream(settings, serving, shap, worker, until) -> None:
    settings.ping_s = 0.1
    app = create_app(settings)
    async with serving(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as live:
        job_id = (await live.post("/explain/shap", json=shap)).json()["id"]
        async with live.stream("GET", f"/jobs/{job_id}/events") as response:
            await until(lambda: app.state.resources.hub.followed)
            claim = worker.claim()
            worker.store.client.delete(f"explaind:job:{claim.id}", events_key(settings, claim.id))
            events = await Followed(response).all()
    assert events[-1].type == "gone"
    assert json.loads(events[-1].data)["code"] == "job_not_found"


async def test_an_end_that_nobody_heard_of_is_found(settings, serving, shap, worker, valkey, until) -> None:
    settings.ping_s = 0.1
    app = create_app(settings)
    async with serving(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as live:
        job_id = (await live.post("/explain/shap", json=shap)).json()["id"]
        async with live.stream("GET", f"/jobs/{job_id}/events") as response:
            await until(lambda: app.state.resources.hub.followed)
            worker.claim()
            valkey.hset(f"explaind:job:{job_id}", "state", "succeeded")
            assert (await Followed(response).all())[-1].type == "end"


async def test_seconds_end_a_stream_without_an_end(follow, submit) -> None:
    async with follow(await submit(), seconds=0.2) as followed:
        began = asyncio.get_running_loop().time()
        assert [event.type for event in await followed.all()] == ["job"]
        assert asyncio.get_running_loop().time() - began < 5


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "soon", "1e9"])
async def test_seconds_that_are_none(client, shap, expect_problem, seconds: str) -> None:
    job_id = (await client.post("/explain/shap", json=shap)).json()["id"]
    response = await client.get(f"/jobs/{job_id}/events", params={"seconds": seconds})
    expect_problem(response, 422, "invalid_request", "/query/seconds")


@pytest.mark.parametrize("job_id", [UNKNOWN, "job_1", "x" * 5000])
async def test_no_such_job(client, expect_problem, job_id: str) -> None:
    expect_problem(await client.get(f"/jobs/{job_id}/events"), 404, "job_not_found")


async def test_without_a_store(client_without_store, expect_problem) -> None:
    expect_problem(await client_without_store.get(f"/jobs/{UNKNOWN}/events"), 503, "store_unavailable")


async def test_only_so_many_streams(settings, serving, shap, expect_problem, until) -> None:
    settings.max_streams = 2
    app = create_app(settings)
    async with serving(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as live:
        path = f"/jobs/{(await live.post('/explain/shap', json=shap)).json()['id']}/events"
        async with live.stream("GET", path), live.stream("GET", path):
            response = await live.get(path)
            assert "wait=30" in expect_problem(response, 503, "too_many_streams")["hint"]
            assert int(response.headers["retry-after"]) > 0
        await until(lambda: app.state.resources.streams.open == 0)
        async with live.stream("GET", path) as response:
            assert response.status_code == 200


async def test_who_leaves_is_forgotten(app, follow, submit, until) -> None:
    async with follow(await submit()) as followed:
        await followed.first(1)
        assert app.state.resources.hub.followed == 1
    await until(lambda: app.state.resources.hub.followed == 0 and app.state.resources.streams.open == 0)


async def test_stopping_takes_leave_at_once(app, follow, submit) -> None:
    async with follow(await submit()) as followed:
        reading = asyncio.create_task(followed.all())
        await asyncio.sleep(0.1)
        began = asyncio.get_running_loop().time()
        app.state.resources.hub.stop()
        assert [event.type for event in await reading] == ["job"]
        assert asyncio.get_running_loop().time() - began < 2
        assert followed.parser.retry_s is not None
        assert 1 <= followed.parser.retry_s < 3


async def test_a_client_that_does_not_read_is_cut_off(app, live, submit, worker, until, caplog) -> None:
    job_id = await submit()
    claim = worker.claim()
    port = live.base_url.port
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", port))
        slow.sendall(f"GET /jobs/{job_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await until(lambda: app.state.resources.streams.open)
        phase = "x" * 20_000  # so that what lies between the two is soon full

        def flood() -> None:
            pipeline = worker.store.client.pipeline(transaction=False)
            data = Progress(phase=phase, done=1, unit="rows").model_dump_json()
            for _ in range(subscription.BACKLOG // 2):
                pipeline.xadd(events_key(worker.store.settings, claim.id), {"event": "progress", "data": data})
            pipeline.execute()

        for _ in range(20):
            await asyncio.to_thread(flood)
            await asyncio.sleep(0.05)
            if not app.state.resources.streams.open:
                break
        await until(lambda: not app.state.resources.streams.open)
    assert app.state.resources.hub.followed == 0
    assert any(record.name == response.__name__ and job_id in record.getMessage() for record in caplog.records)


async def test_many_clients_of_one_job_hear_all_of_it_soon(follow, submit, worker) -> None:
    job_id = await submit()
    claim = worker.claim()
    late: list[float] = []
    loop = asyncio.get_running_loop()
    sent: list[float] = []

    async def listen(ready: asyncio.Event) -> None:
        async with follow(job_id) as followed:
            async for event in followed.events():
                if event.type == "job":
                    ready.set()
                elif event.type == "progress":
                    late.append(loop.time() - sent[json.loads(event.data)["done"]])

    readies = [asyncio.Event() for _ in range(50)]
    listening = [asyncio.create_task(listen(ready)) for ready in readies]
    for ready in readies:
        await ready.wait()
    for done in range(10):
        sent.append(loop.time())
        await asyncio.to_thread(step, worker, claim, done)
        await asyncio.sleep(0.05)
    await asyncio.to_thread(worker.end, claim, b"{}")
    await asyncio.gather(*listening)
    assert len(late) == 500
    assert sorted(late)[250] < 1


async def test_no_stream_lasts_longer_than_the_service_allows(app, follow, submit) -> None:
    app.state.resources.settings.max_stream_s = 0.1
    async with follow(await submit()) as followed:
        assert [event.type async for event in followed.events()] == ["job"]
