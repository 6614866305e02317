"""From the end of a job to its receiver: signed, at last, and at most as often as promised."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import redis
import redis.asyncio
import standardwebhooks

from explaind.contract.errors import StoreUnavailable
from explaind.contract.job import WebhookStatus
from explaind.contract.webhook import Webhook
from explaind.webhooks import verify
from explaind_jobs.keys.pepper import load_pepper
from explaind_jobs.keys.webhook_secret import webhook_secret
from explaind_jobs.redis_scripts.connection import async_redis_from
from explaind_jobs.redis_scripts.script import ScriptCall
from explaind_jobs.store import webhook_outbox
from explaind_jobs.store.job_store import AsyncJobStore, JobStore
from explaind_jobs.store.records import NewJob
from explaind_service.webhooks.delivery import MAX_ATTEMPTS, SCHEDULE_S, WebhookDeliverer, next_delay_s
from explaind_service.webhooks.ssrf_guard import WebhookGuard
from explaind_service.webhooks.transport import WebhookTransport
from tests.support.apps import create_app

LOCAL = ["127.0.0.0/8"]
PEPPER = bytes(range(32))
POLL_S = 0.01


async def wait_while(pending: Callable[[], bool]) -> None:
    """Returns once it is no longer so; fails after a long while."""
    deadline = time.monotonic() + 20
    while pending():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


class Post:
    """The outbox as seen from outside: jobs that end, their due times, their statuses."""

    def __init__(self, store: JobStore, worker: Any) -> None:
        self.store = store
        self.worker = worker
        self.outbox = f"{store.settings.key_prefix}outbox"

    def record(self, job_id: str) -> str:
        return f"{self.store.settings.key_prefix}job:{job_id}"

    def end(self, url: str, *, key: str = "", events: list[str] | None = None) -> str:
        """A job that succeeds, with its end to be told."""
        metadata = {"run": "7"}
        new = NewJob(method="explain/shap", model="demo", queue="default", request=b"{}", metadata=metadata)
        job_id = self.store.create(new).id
        webhook = Webhook.model_validate({"url": url, **({} if events is None else {"events": events})})
        self.store.client.hset(self.record(job_id), mapping={"webhook": webhook.model_dump_json(), "key": key})
        self.worker.succeed()
        self.make_due(job_id)
        return job_id

    def make_due(self, job_id: str) -> None:
        self.store.client.zadd(self.outbox, {job_id: 1})

    def due_in_s(self, job_id: str) -> float | None:
        score: Any = self.store.client.zscore(self.outbox, job_id)
        return None if score is None else score / 1000 - time.time()

    def status(self, job_id: str) -> WebhookStatus | None:
        raw: Any = self.store.client.hget(self.record(job_id), "webhook_status")
        return None if raw is None else WebhookStatus.model_validate_json(raw)

    async def until(self, job_id: str, check: Callable[[WebhookStatus], bool]) -> WebhookStatus:
        """The status once it is as awaited."""
        await wait_while(lambda: (status := self.status(job_id)) is None or not check(status))
        status = self.status(job_id)
        assert status is not None
        return status


@pytest.fixture
def post(worker) -> Post:
    return Post(worker.store, worker)


@pytest.fixture
def deliverer_of(async_valkey: redis.asyncio.Redis, settings, names) -> Callable[..., WebhookDeliverer]:
    """A deliverer that may reach this machine."""

    def make(
        *,
        networks: list[str] | None = None,
        transport: WebhookTransport | None = None,
        store: AsyncJobStore | None = None,
        timeout_s: float = 5,
    ) -> WebhookDeliverer:
        return WebhookDeliverer(
            store or AsyncJobStore(async_valkey, settings),
            WebhookGuard(LOCAL if networks is None else networks, names),
            transport or WebhookTransport(timeout_s),
            PEPPER,
            timeout_s=timeout_s,
            poll_s=POLL_S,
        )

    return make


@pytest.fixture
async def running(deliverer_of) -> AsyncIterator[WebhookDeliverer]:
    """A deliverer at work."""
    deliverer = deliverer_of()
    deliverer.start()
    yield deliverer
    await deliverer.stop()


def url_of(receiver: Any) -> str:
    return f"http://hooks.example:{receiver.port}/hooks?token=very-secret"


def delivered(status: WebhookStatus) -> bool:
    return status.state == "delivered"


def answer(status: int, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} X", *headers, "Content-Length: 0", "", ""]).encode()


async def test_a_signed_event_arrives_over_tls(post, deliverer_of, tls_receiver, certificate) -> None:
    job_id = post.end(f"https://hooks.example:{tls_receiver.port}/hooks", key="k1")
    deliverer = deliverer_of(transport=WebhookTransport(5, certificate.client))
    deliverer.start()
    status = await post.until(job_id, delivered)
    await deliverer.stop()
    assert (status.attempts, status.last_status) == (1, 204)
    assert status.last_at is not None
    assert abs(status.last_at - datetime.now(UTC)) < timedelta(seconds=30)

    [(line, headers, body)] = tls_receiver.requests
    assert line == "POST /hooks HTTP/1.1"
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == f"msg_{job_id}"
    event = verify(webhook_secret(PEPPER, "k1"), headers, body)
    assert (event.type, event.data.id, event.data.state) == ("job.succeeded", job_id, "succeeded")
    assert (event.data.metadata, event.data.links.result) == ({"run": "7"}, f"/jobs/{job_id}/result")
    assert event.timestamp == event.data.finished_at == post.store.get(job_id).finished_at
    assert "result" not in json.loads(body)["data"]
    assert standardwebhooks.Webhook(webhook_secret(PEPPER, "k1")).verify(body, headers) == json.loads(body)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(webhook_secret(PEPPER, "")).verify(body, headers)


async def test_a_try_that_fails_is_repeated_with_the_same_message(post, running, receiver) -> None:
    receiver.answers = [answer(500), answer(302, "Location: /x"), answer(200)]
    job_id = post.end(url_of(receiver))
    for attempt, status in ((1, 500), (2, 302)):
        seen = await post.until(job_id, lambda status, attempt=attempt: status.attempts == attempt)
        assert (seen.state, seen.last_status) == ("pending", status)
        wait = SCHEDULE_S[attempt - 1]
        due = post.due_in_s(job_id)
        assert wait * 0.9 - 2 < due < wait * 1.1 + 0.1
        post.make_due(job_id)
    assert (await post.until(job_id, delivered)).attempts == 3
    assert post.due_in_s(job_id) is None
    ids = {headers["webhook-id"] for _, headers, _ in receiver.requests}
    bodies = {body for _, _, body in receiver.requests}
    assert (len(receiver.requests), ids, len(bodies)) == (3, {f"msg_{job_id}"}, 1)


async def test_it_is_given_up_after_the_last_try(post, running, receiver) -> None:
    receiver.answers = [answer(500)]
    job_id = post.end(url_of(receiver))
    for attempt in range(1, MAX_ATTEMPTS):
        await post.until(job_id, lambda status, attempt=attempt: status.attempts == attempt)
        post.make_due(job_id)
    status = await post.until(job_id, lambda status: status.state == "failed")
    assert (status.attempts, status.last_status) == (8, 500)
    assert post.due_in_s(job_id) is None
    assert len(receiver.requests) == 8


async def test_gone_is_the_end(post, running, receiver) -> None:
    receiver.answers = [answer(410)]
    job_id = post.end(url_of(receiver))
    status = await post.until(job_id, lambda status: status.state == "failed")
    assert (status.attempts, status.last_status, post.due_in_s(job_id)) == (1, 410, None)
    assert len(receiver.requests) == 1


async def test_the_receiver_may_ask_for_time(post, running, receiver) -> None:
    receiver.answers = [answer(503, "Retry-After: 900")]
    job_id = post.end(url_of(receiver))
    await post.until(job_id, lambda status: status.attempts == 1)
    assert 890 < (post.due_in_s(job_id) or 0) < 901


@pytest.mark.parametrize("trouble", ["silence", "nobody", "refused", "unknown"])
async def test_every_trouble_is_tried_again(post, deliverer_of, receiver, names, trouble: str, caplog) -> None:
    caplog.set_level(logging.INFO)
    url, networks = url_of(receiver), LOCAL
    if trouble == "silence":
        receiver.silent = True
    elif trouble == "nobody":
        url = "http://hooks.example:9/"
    elif trouble == "refused":
        url, networks = "https://hooks.example/hooks", []
    else:
        names.answers = [[]]
    deliverer = deliverer_of(networks=networks, timeout_s=0.3)
    job_id = post.end(url)
    deliverer.start()
    status = await post.until(job_id, lambda status: status.attempts == 1)
    await deliverer.stop()
    assert (status.state, status.last_status) == ("pending", None)
    assert 0 < (post.due_in_s(job_id) or 0) < 6
    words = {"silence": "no answer within 0.3 s", "nobody": "not reached", "refused": "refused"}
    assert words.get(trouble, "not reached") in caplog.text


async def test_nothing_private_is_logged(post, running, receiver, caplog) -> None:
    caplog.set_level(logging.DEBUG, "explaind_service")
    receiver.answers = [answer(500), answer(204)]
    job_id = post.end(url_of(receiver))
    await post.until(job_id, lambda status: status.attempts == 1)
    post.make_due(job_id)
    await post.until(job_id, delivered)
    assert job_id in caplog.text
    for private in ("very-secret", "token", "whsec_", "metadata"):
        assert private not in caplog.text


async def test_only_the_ends_that_were_asked_for_are_told(post, running, receiver) -> None:
    silent = post.end(url_of(receiver), events=["failed", "cancelled"])
    told = post.end(url_of(receiver), events=["succeeded"])
    await post.until(told, delivered)
    await wait_while(lambda: post.due_in_s(silent) is not None)
    assert post.status(silent) is None
    assert [headers["webhook-id"] for _, headers, _ in receiver.requests] == [f"msg_{told}"]


async def test_two_processes_send_each_message_once(post, deliverer_of, receiver) -> None:
    jobs = [post.end(url_of(receiver)) for _ in range(30)]
    two = [deliverer_of(), deliverer_of()]
    for deliverer in two:
        deliverer.start()
    for job_id in jobs:
        assert (await post.until(job_id, delivered)).attempts == 1
    for deliverer in two:
        await deliverer.stop()
    assert sorted(headers["webhook-id"] for _, headers, _ in receiver.requests) == sorted(f"msg_{job}" for job in jobs)


async def test_no_more_than_so_many_at_a_time(post, deliverer_of, receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explaind_service.webhooks.delivery.STOP_GRACE_S", 0.05)
    receiver.silent = True
    for _ in range(20):
        post.end(url_of(receiver))
    deliverer = deliverer_of()
    deliverer.start()
    await wait_while(lambda: len(receiver.requests) < 16)
    await asyncio.sleep(POLL_S * 10)  # time enough to take more
    assert receiver.connections == 16
    await deliverer.stop()


async def test_what_a_dead_process_took_is_sent_again(post, running, receiver, async_valkey, settings) -> None:
    # Held by nobody, but leased: another attempt only once that is over.
    await running.stop()
    job_id = post.end(url_of(receiver))
    assert await AsyncJobStore(async_valkey, settings).run(webhook_outbox.take(1, 0.2))
    running.start()
    assert (await post.until(job_id, delivered)).attempts == 2


async def test_tries_cut_off_again_and_again_come_to_an_end(post, running, receiver) -> None:
    job_id = post.end(url_of(receiver))
    post.store.client.hset(post.record(job_id), "webhook_attempts", MAX_ATTEMPTS)
    status = await post.until(job_id, lambda status: status.state == "failed")
    assert (status.attempts, post.due_in_s(job_id), receiver.requests) == (MAX_ATTEMPTS + 1, None, [])


async def test_a_deleted_job_is_told_to_nobody(post, running, receiver) -> None:
    await running.stop()
    gone, stays = post.end(url_of(receiver)), post.end(url_of(receiver))
    post.store.delete(gone)
    running.start()
    await post.until(stays, delivered)
    assert [headers["webhook-id"] for _, headers, _ in receiver.requests] == [f"msg_{stays}"]
    assert post.due_in_s(gone) is None
    assert not post.store.client.exists(post.record(gone))


async def test_a_job_deleted_while_it_is_told_stays_deleted(post, deliverer_of, receiver) -> None:
    receiver.silent = True
    job_id = post.end(url_of(receiver))
    deliverer = deliverer_of(timeout_s=0.3)
    assert await deliverer.step() == 1
    post.store.delete(job_id)
    await wait_while(lambda: post.due_in_s(job_id) is not None)
    await deliverer.stop()
    assert not post.store.client.exists(post.record(job_id))


async def test_a_record_that_cannot_be_read_is_given_up(post, running, receiver) -> None:
    await running.stop()
    wrong, right = post.end(url_of(receiver)), post.end(url_of(receiver))
    post.store.client.hset(post.record(wrong), "webhook", '{"url": "gopher://x"}')
    running.start()
    await post.until(right, delivered)
    assert (await post.until(wrong, lambda status: status.state == "failed")).attempts == 1


class Unsteady(AsyncJobStore):
    """A store that does not answer for a while."""

    def __init__(self, client: redis.asyncio.Redis, settings: Any) -> None:
        super().__init__(client, settings)
        self.down: set[str] = set()
        self.refused = 0

    async def run(self, call: ScriptCall[Any]) -> Any:
        if call.script in self.down:
            self.refused += 1
            raise StoreUnavailable("The job store does not answer.")
        return await super().run(call)


@pytest.mark.parametrize("script", ["outbox_take", "outbox_note"])
async def test_a_store_that_is_away_is_waited_for(post, deliverer_of, receiver, async_valkey, settings, script) -> None:
    store = Unsteady(async_valkey, settings)
    store.down = {script}
    deliverer = deliverer_of(store=store)
    deliverer.start()
    job_id = post.end(url_of(receiver))
    await wait_while(lambda: store.refused < 3)
    assert post.status(job_id) is None
    store.down = set()
    assert (await post.until(job_id, delivered)).attempts == 1
    await deliverer.stop()
    assert len(receiver.requests) == 1


async def test_a_redis_that_is_not_there_stops_nothing(deliverer_of, settings, tmp_path, caplog) -> None:
    nowhere = settings.model_copy(update={"redis_url": f"unix://{tmp_path}/no-such.sock"})
    async with async_redis_from(nowhere) as client:
        deliverer = deliverer_of(store=AsyncJobStore(client, settings))
        deliverer.start()
        await wait_while(lambda: caplog.text.count("webhooks wait for the store") < 2)
        await deliverer.stop()


async def test_stopping_leaves_what_is_under_way_to_the_next(
    post, deliverer_of, receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("explaind_service.webhooks.delivery.STOP_GRACE_S", 0.05)
    receiver.silent = True
    job_id = post.end(url_of(receiver))
    deliverer = deliverer_of(timeout_s=30)
    deliverer.start()
    await wait_while(lambda: not receiver.requests)
    began = time.perf_counter()
    await deliverer.stop()
    assert time.perf_counter() - began < 5
    assert (post.due_in_s(job_id) or 0) > 30, "leased, and due again after"


async def test_the_service_delivers(post, app, client_of, receiver, settings, data_dir) -> None:
    """The application starts it, with the pepper of its data directory and the operator's networks."""
    open_settings = settings.model_copy(update={"webhook_allowed_networks": LOCAL})
    job_id = post.end(f"http://127.0.0.1:{receiver.port}/")
    async with client_of(create_app(open_settings)):
        await post.until(job_id, delivered)
    [(_, headers, body)] = receiver.requests
    assert verify(webhook_secret(load_pepper(settings), ""), headers, body).data.id == job_id
    assert (data_dir / "pepper").exists()


@pytest.mark.parametrize("attempt", range(1, MAX_ATTEMPTS))
def test_the_schedule_is_spread_by_a_tenth(attempt: int) -> None:
    wait = SCHEDULE_S[attempt - 1]
    assert next_delay_s(attempt, None, lambda low, high: low) == pytest.approx(wait * 0.9)
    assert next_delay_s(attempt, None, lambda low, high: high) == pytest.approx(wait * 1.1)
    assert len({next_delay_s(attempt, None) for _ in range(10)}) > 1


@pytest.mark.parametrize(
    ("retry_after", "expected"),
    [
        ("60", 60),
        ("3601", 3600),
        ("9" * 400, 3600),
        ("0", 5),
        ("-7", 5),
        ("soon", 5),
        ("", 5),
        ("٣", 5),
        ("nan", 5),
        pytest.param(format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True), 5, id="an hour ago"),
        pytest.param(format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True), 3600, id="tomorrow"),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 3600),
    ],
)
def test_how_long_a_receiver_may_ask_for(retry_after: str, expected: float) -> None:
    assert next_delay_s(1, retry_after, lambda low, high: 0) == expected


def test_a_date_is_counted_from_now() -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=120), usegmt=True)
    assert 100 < next_delay_s(1, moment) <= 121
