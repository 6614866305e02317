"""One reader for all: nothing missed, nothing twice, whatever comes between; nobody waited for for ever."""

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis
import redis.asyncio

from explaind.contract.job import Progress
from explaind_jobs.local_stack.redis_server import find_server, start_server
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import AsyncJobStore, JobStore
from explaind_jobs.store.records import NewJob
from explaind_jobs.store.transitions import events_key
from explaind_service.events.entries import Event, StreamId, id_of, place_of
from explaind_service.events.hub import BLOCK_MS, CONTROL_TTL_S, Hub
from explaind_service.events.subscription import BACKLOG, Subscription

NEW = NewJob(method="explain/shap", model="demo", queue="default", request=b"{}")


@pytest.fixture
async def hub(settings) -> AsyncIterator[Hub]:
    hub = Hub(settings)
    yield hub
    await hub.close()


@pytest.fixture
def store(async_valkey, settings) -> AsyncJobStore:
    return AsyncJobStore(async_valkey, settings)


def tell(store: JobStore, job_id: str, attempt: int, *steps: int) -> None:
    for step in steps:
        store.progress(job_id, attempt, Progress(phase="evaluating", done=step, total=None, unit="rows"))


async def heard(subscription: Subscription, *, kind: str) -> list[Event]:
    """Everything up to the first event of that kind."""
    events: list[Event] = []
    async with asyncio.timeout(20):
        while not any(event.kind == kind for event in events):
            events += await subscription.take(1)
    return events


async def test_events_come_in_order_and_at_once(hub, store, worker) -> None:
    job_id = (await store.create(NEW)).id
    _, last = await store.follow(job_id)
    with hub.subscribe(job_id, last) as subscription:
        claim = await asyncio.to_thread(worker.claim)
        await asyncio.to_thread(tell, worker.store, job_id, claim.attempt, 1, 2)
        await asyncio.to_thread(worker.end, claim, b"{}")
        events = await heard(subscription, kind="end")
    assert [event.kind for event in events] == ["state", "progress", "progress", "end"]
    assert events == sorted(events, key=lambda event: event.place)
    assert hub.followed == 0


async def test_a_job_that_is_added_while_others_are_waited_for_is_heard_at_once(hub, store, worker, until) -> None:
    first, second = [(await store.create(NEW)).id for _ in range(2)]
    loop = asyncio.get_running_loop()
    with hub.subscribe(first, (await store.follow(first))[1]) as other:
        assert await other.take(0.2) == []  # the reader waits for the first alone
        with hub.subscribe(second, (await store.follow(second))[1]) as subscription:
            await until(lambda: not hub._unread())
            began = loop.time()
            await store.cancel(second)
            await heard(subscription, kind="end")
            assert loop.time() - began < BLOCK_MS / 1000 / 2


async def test_everybody_hears_everything_from_where_they_stand(hub, store, worker) -> None:
    job_id = (await store.create(NEW)).id
    _, early = await store.follow(job_id)
    claim = worker.claim()
    with hub.subscribe(job_id, early) as first:
        await heard(first, kind="state")
        _, late = await store.follow(job_id)
        with hub.subscribe(job_id, early) as behind, hub.subscribe(job_id, late) as level:
            assert behind.behind
            assert not level.behind
            worker.end(claim, b"{}")
            for subscription in (first, level):
                assert [event.kind for event in await heard(subscription, kind="end")] == ["end"]
            missed = behind.only_new(await hub.past(job_id, behind.place))
            assert [event.kind for event in missed] == ["state", "end"]
            assert await behind.take(0) == [], "what was fetched must not come twice"


async def test_a_job_followed_anew_is_read_from_its_new_place(hub, store, worker) -> None:
    job_id = (await store.create(NEW)).id
    claim = worker.claim()
    steps: list[int] = []
    for step in range(30):
        _, last = await store.follow(job_id)
        with hub.subscribe(job_id, last) as subscription:
            await asyncio.to_thread(tell, worker.store, job_id, claim.attempt, step)
            steps += [
                int(event.data.split('"done":')[1].split(",")[0])
                for event in await heard(subscription, kind="progress")
            ]
    assert steps == list(range(30))


async def test_what_is_under_way_to_others_is_not_taken_for_ones_own(hub, store, worker, until) -> None:
    job_id = (await store.create(NEW)).id
    _, early = await store.follow(job_id)
    with hub.subscribe(job_id, early) as before:
        claim = worker.claim()
        await heard(before, kind="state")
        await until(lambda: hub._read)  # the reader waits for what comes after that
    with hub.subscribe(job_id, early) as subscription:
        tell(worker.store, job_id, claim.attempt, 1)
        events = await heard(subscription, kind="progress")
    assert [event.kind for event in events] == ["state", "progress"]


async def test_two_hubs_hear_the_same(hub, settings, store, worker) -> None:
    job_id = (await store.create(NEW)).id
    _, last = await store.follow(job_id)
    second = Hub(settings)
    try:
        with hub.subscribe(job_id, last) as here, second.subscribe(job_id, last) as there:
            claim = await asyncio.to_thread(worker.claim)
            await asyncio.to_thread(tell, worker.store, job_id, claim.attempt, *range(50))
            await asyncio.to_thread(worker.end, claim, b"{}")
            assert await heard(here, kind="end") == await heard(there, kind="end")
    finally:
        await second.close()


async def test_what_is_trimmed_is_known_to_be(hub, store, valkey, settings, worker) -> None:
    job_id = (await store.create(NEW)).id
    place = place_of((await store.follow(job_id))[1])
    assert place is not None
    assert await hub.holds(job_id, place)
    tell(worker.store, job_id, worker.claim().attempt, 1, 2)
    valkey.xtrim(events_key(settings, job_id), maxlen=1, approximate=False)
    assert not await hub.holds(job_id, place)


async def test_only_the_end(hub, store, worker) -> None:
    job_id = (await store.create(NEW)).id
    with hub.subscribe(job_id, "0-0", only_end=True) as subscription:
        claim = await asyncio.to_thread(worker.claim)
        await asyncio.to_thread(tell, worker.store, job_id, claim.attempt, *range(BACKLOG + 50))
        await asyncio.to_thread(worker.end, claim, b"{}")
        assert [event.kind for event in await heard(subscription, kind="end")] == ["end"]


async def test_who_does_not_read_is_cut_and_holds_nothing(hub, store, worker, until) -> None:
    job_id = (await store.create(NEW)).id
    cut = asyncio.Event()
    _, last = await store.follow(job_id)
    with hub.subscribe(job_id, last) as slow, hub.subscribe(job_id, last) as quick:
        slow.on_cut = cut.set
        claim = await asyncio.to_thread(worker.claim)
        got = 0
        for first in range(0, 2 * BACKLOG, 50):
            await asyncio.to_thread(tell, worker.store, job_id, claim.attempt, *range(first, first + 50))
            while got < first + 50:
                got += len(await quick.take(5))
        assert cut.is_set()
        assert slow.cut
        assert await slow.take(0) == []
        assert not quick.cut


async def test_stopping_wakes_everybody_even_from_a_signal_handler(hub, store) -> None:
    job_id = (await store.create(NEW)).id
    loop = asyncio.get_running_loop()
    before = signal.signal(signal.SIGUSR1, lambda *_: hub.stop())
    try:
        with hub.subscribe(job_id, (await store.follow(job_id))[1]) as subscription:
            taking = asyncio.create_task(subscription.take(30))
            await asyncio.sleep(0)
            began = loop.time()
            # Sent from outside while the loop sleeps: it must be woken.
            sent = asyncio.create_task(asyncio.create_subprocess_shell(f"sleep 0.3; kill -USR1 {os.getpid()}"))
            assert await taking == []
            assert subscription.stopping
            assert loop.time() - began < 10
            await (await sent).wait()
    finally:
        signal.signal(signal.SIGUSR1, before)


async def test_closing_leaves_no_key_behind(hub, store, valkey) -> None:
    one, other = [(await store.create(NEW)).id for _ in range(2)]
    with hub.subscribe(one, "0-0") as subscription:
        await subscription.take(1)
        with hub.subscribe(other, "0-0") as added:
            await added.take(1)
            (key,) = list(valkey.scan_iter("explaind:hub:*"))
            assert 0 < valkey.ttl(key) <= CONTROL_TTL_S, "a process that dies must not leave it either"
    await hub.close()
    assert list(valkey.scan_iter("explaind:hub:*")) == []


@pytest.fixture
def durable() -> Iterator["Durable"]:
    with tempfile.TemporaryDirectory(prefix="explaind-") as folder:
        server = Durable(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.kill()


class Durable:
    """A server of one's own, to be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"unix://{folder}/redis.sock?db=0"

    def start(self) -> None:
        binary = find_server()
        assert binary is not None
        self.process = start_server(binary, self.folder, self.folder / "redis.sock", durable=True)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


async def test_a_store_that_dies_and_comes_back_costs_nothing(durable: Durable) -> None:
    settings = JobsSettings(redis_url=durable.url)
    hub = Hub(settings)
    with redis.Redis.from_url(durable.url) as client:
        store = JobStore(client, settings)
        job_id = store.create(NEW).id
        claim = store.claim("w@test", ["default"])
        assert claim is not None
        try:
            with hub.subscribe(job_id, "0-0") as subscription:
                await asyncio.to_thread(tell, store, job_id, claim.attempt, *range(10))
                seen: list[Event] = []
                while len(seen) < 12:
                    seen += await subscription.take(5)
                # What was written a moment ago may not be on disk yet.
                await asyncio.to_thread(client.execute_command, "WAITAOF", 1, 0, 5000)
                await asyncio.to_thread(durable.kill)
                await asyncio.to_thread(durable.start)
                await asyncio.to_thread(tell, store, job_id, claim.attempt, *range(10, 20))
                await asyncio.to_thread(store.cancel, job_id)
                seen += await heard(subscription, kind="state")
        finally:
            await hub.close()
        kept = [place_of(entry.decode()) for entry, _ in client.xrange(events_key(settings, job_id))]  # type: ignore[union-attr]
    assert [event.place for event in seen] == kept
    assert [event.kind for event in seen] == ["state", "state", *["progress"] * 20, "state"]


@pytest.mark.parametrize(
    "text", ["", "x", "1", "1-", "-1", "1-2-3", "99999999999999999999999-0", "18446744073709551616-0", "١-٢"]
)
def test_what_is_no_id(text: str) -> None:
    assert place_of(text) is None


@pytest.mark.parametrize("place", [(0, 0), (1795248444341, 7), (2**64 - 1, 2**64 - 1)])
def test_ids_and_places_are_the_same(place: StreamId) -> None:
    assert place_of(id_of(place)) == place
