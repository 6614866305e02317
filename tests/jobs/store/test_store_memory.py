"""What jobs take of Redis' memory: while they wait, when they have ended, and when they share a result."""

import random
from collections.abc import Iterator

import pytest
import redis

from explaind.contract.errors import QueueFull, StoreUnavailable
from explaind.contract.job import JobState, Progress, Provenance, Timing
from explaind_jobs.results.scripts import evict_cached
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import AsyncJobStore, JobStore
from explaind_jobs.store.records import Allowance, LeaseStatus, Outcome
from tests.support.store_invariants import inconsistencies

TINY_JOB_BYTES = 2048
CACHED_JOB_BYTES = 1400
PROGRESS = Progress(phase="evaluating", done=3, total=9, unit="coalitions")
LARGE = random.Random(1).randbytes(100_000)  # nothing to compress


def bytes_in_use(valkey: redis.Redis) -> int:
    """The memory of all keys, their names and their entries in the server's own tables included."""
    return sum(valkey.memory_usage(key, samples=0) or 0 for key in valkey.scan_iter("*", count=1000))  # type: ignore[misc]


def outcome(number: int) -> Outcome:
    """How a score of the built-in model ends."""
    tokens = [1, 542, 319, 552, 285, 309, 434, 227, 514, 84, 384, number]
    provenance = Provenance(
        model="demo",
        source="built-in",
        revision="sha256:8b6d486fc196fe3787d10878451ca3a0ca589e23",
        architecture="LlamaForCausalLM",
        dtype="float32",
        device="cpu",
        token_ids=tokens,
        versions={
            "python": "3.11.7",
            "explaind": "0.1.0",
            "torch": "2.13.0+cpu",
            "transformers": "5.23.0",
            "tokenizers": "0.23.3",
            "numpy": "2.4.6",
        },
    )
    timing = Timing(queued_s=0.01, seconds=0.02132092600368196, forwards=1, tokens_evaluated=15)
    result = (
        b'{"logprob":-0.7512345,"tokens":[{"text":" Par","id":%d,"logprob":-0.5012345},{"text":"is","id":84}]}' % number
    )
    revision = f"{provenance.revision}|float32|None"
    return Outcome(JobState.SUCCEEDED, result, provenance=provenance, timing=timing, revision=revision)


def run_tiny_job(shop, number: int) -> str:
    """A tiny job from its acceptance to its end, as service and worker do it; returns its id."""
    job_id = shop.put(
        method="infer/score",
        request=b'{"model":"demo","prompt":"The capital of France is","target":{"text":" Paris"},"webhook":null}',
        request_id="req_bcc6be69bb7b9baa8bfca89a",
        cache_key=f"{number:032x}",
        timeout_s=60.0,
        metadata={"run": str(number)},
    )
    claim = shop.take()
    shop.store.progress(job_id, claim.attempt, Progress(phase="scoring", done=0, total=1, unit="forwards"))
    shop.end(claim, outcome(number))
    return job_id


def test_a_finished_tiny_job_leaves_no_more_than_2_kb(shop, valkey: redis.Redis):
    run_tiny_job(shop, 0)  # what all jobs share is there from now on
    before = bytes_in_use(valkey)
    job_id = run_tiny_job(shop, 1)
    assert 0 < bytes_in_use(valkey) - before <= TINY_JOB_BYTES
    for number in range(2, 202):
        run_tiny_job(shop, number)
    assert (bytes_in_use(valkey) - before) / 201 <= TINY_JOB_BYTES
    job = shop.store.get(job_id)
    expected = outcome(1)
    assert (job.provenance, job.timing, job.metadata) == (expected.provenance, expected.timing, {"run": "1"})
    assert (job.attempt, job.progress.phase, job.model, job.method) == (1, "scoring", "demo", "infer/score")
    assert None not in {job.created_at, job.started_at, job.finished_at, job.expires_at}
    assert shop.store.result(job_id) == expected.result


def test_an_ended_job_has_no_request_any_more(shop, valkey: redis.Redis):
    secret = b'{"prompt": "a secret of eleven words that nobody needs to keep any longer"}'
    ids = [shop.put(request=secret) for _ in range(3)]
    shop.end(shop.take())
    shop.store.cancel(ids[1])
    shop.age(ids[2], shop.store.settings.queue_ttl_s + 1)
    shop.store.reap()
    assert {shop.store.get(job_id).state.value for job_id in ids} == {"succeeded", "cancelled", "expired"}
    kept = b"".join(valkey.dump(key) or b"" for key in valkey.scan_iter("*"))
    assert b"secret" not in kept


def test_a_job_that_runs_again_still_has_its_request(shop):
    shop.put(request=b'{"prompt": "again"}')
    first = shop.take()
    shop.store.release(first.id, first.attempt)
    assert shop.take().request == b'{"prompt": "again"}'


@pytest.mark.parametrize("length", [63, 64, 65, 128, 4000, 5000, 100_000])
def test_an_ended_job_tells_all_of_what_it_was(shop, length: int):
    """However long its parts are: they are kept in pieces."""
    job_id = shop.put()
    tokens = list(range(length // 7))
    provenance = Provenance(model="demo", source="x" * length, seed=7, token_ids=tokens, versions={"a": "1"})
    shop.end(shop.take(), Outcome(JobState.SUCCEEDED, b"1", provenance=provenance, timing=Timing(seconds=1.25)))
    job = shop.store.get(job_id)
    assert (job.provenance, job.timing) == (provenance, Timing(seconds=1.25))
    assert job.finished_at is not None


def test_after_the_end_the_events_of_a_job_are_packed_and_kept_for_a_minute(shop, valkey: redis.Redis):
    job_id = shop.put()
    claim = shop.take()
    shop.store.progress(job_id, claim.attempt, PROGRESS)
    key = f"explaind:events:{job_id}"
    before, heard = valkey.memory_usage(key, samples=0), shop.events(job_id)
    shop.end(claim)
    assert shop.events(job_id) == [*heard, ("end", '{"state":"succeeded"}')]
    assert valkey.memory_usage(key, samples=0) < min(700, before)  # type: ignore[operator]
    assert 0 < valkey.ttl(key) <= 60  # type: ignore[operator]


async def test_where_the_events_end_is_known_after_they_have_gone(shop, async_valkey):
    job_id = shop.put()
    shop.end(shop.take())
    store = AsyncJobStore(async_valkey, shop.store.settings)
    _, last = await store.follow(job_id)
    assert last != "0-0"
    await async_valkey.delete(f"explaind:events:{job_id}")
    assert (await store.follow(job_id))[1] == last


def test_a_question_asked_a_thousand_times_keeps_its_result_once(shop, valkey: redis.Redis):
    shop.heartbeat(revisions={"demo": "r1"})
    shop.put(cache_key="q")
    shop.end(shop.take(), Outcome(JobState.SUCCEEDED, LARGE, revision="r1"))
    before = bytes_in_use(valkey)
    created = [shop.store.create(shop.job(cache_key="q")) for _ in range(1000)]
    assert all(one.job.cached for one in created)
    assert (bytes_in_use(valkey) - before) / 1000 <= CACHED_JOB_BYTES
    assert len(valkey.keys("explaind:result:*")) == 1  # type: ignore[arg-type]
    assert shop.store.result(created[-1].id) == LARGE
    assert inconsistencies(valkey) == []


def test_equal_results_of_different_questions_are_kept_once(shop, valkey: redis.Redis):
    ids = [shop.put() for _ in range(3)]
    for _ in ids:
        shop.end(shop.take(), Outcome(JobState.SUCCEEDED, LARGE))
    assert len(valkey.keys("explaind:result:*")) == 1  # type: ignore[arg-type]
    for gone in range(3):
        assert shop.store.result(ids[-1]) == LARGE
        shop.store.delete(ids[gone])
    assert valkey.keys("explaind:result:*") == []
    assert not valkey.exists("explaind:results")


def expire(valkey: redis.Redis, job_id: str) -> None:
    """Lets the time of an ended job come, as Redis does: its record goes, and is tidied up after later."""
    valkey.delete(f"explaind:job:{job_id}")
    member = next(name for name, _ in valkey.zscan_iter("explaind:expiring") if name.startswith(job_id.encode()))
    valkey.zadd("explaind:expiring", {member: 1})


@pytest.mark.parametrize("end", ["expires", "is deleted"])
def test_a_job_that_goes_leaves_the_result_to_those_who_share_it(shop, valkey: redis.Redis, end: str):
    first, second = shop.put(key="a"), shop.put(key="b")
    for _ in range(2):
        shop.end(shop.take(), Outcome(JobState.SUCCEEDED, LARGE))
    for job_id, still_there in ((first, True), (second, False)):
        if end == "expires":
            expire(valkey, job_id)
            shop.store.reap()
        else:
            shop.store.delete(job_id)
        shop.store.reap()
        assert bool(valkey.keys("explaind:result:*")) is still_there
        assert (shop.store.result(second) == LARGE) is still_there


def test_a_job_that_expired_unseen_takes_no_result_that_was_stored_since(shop, valkey: redis.Redis):
    """No worker tidied up for long: the bytes went with the first job, and came again with the second."""
    first = shop.put()
    shop.end(shop.take(), Outcome(JobState.SUCCEEDED, LARGE))
    expire(valkey, first)
    valkey.delete(*valkey.keys("explaind:result:*"))  # type: ignore[misc]
    second = shop.put()
    shop.end(shop.take(), Outcome(JobState.SUCCEEDED, LARGE))
    shop.store.reap()
    assert shop.store.result(second) == LARGE


@pytest.mark.parametrize("keeps", [(100, 5000), (5000, 100)])
def test_a_shared_result_lives_as_long_as_the_last_that_has_it(shop, valkey: redis.Redis, keeps: tuple[int, int]):
    for keep_s in keeps:
        shop.put(keep_s=keep_s)
        shop.end(shop.take(), outcome(1))
    for family in ("result", "origin"):
        (key,) = valkey.keys(f"explaind:{family}:*")  # type: ignore[misc]
        assert 4900 < valkey.ttl(key) <= 5000  # type: ignore[operator]


def test_a_damaged_small_result_answers_nobody(shop):
    shop.heartbeat(revisions={"demo": "r1"})
    first = shop.put(cache_key="q")
    shop.end(shop.take(), Outcome(JobState.SUCCEEDED, LARGE, revision="r1"))
    shop.store.run(evict_cached(first))
    assert not shop.store.create(shop.job(cache_key="q")).job.cached
    shop.end(shop.take(), Outcome(JobState.SUCCEEDED, LARGE, revision="r1"))
    assert shop.store.result(first) == LARGE  # the bytes are those it had


class TestWaitingBytes:
    """The bound on the bytes of waiting requests."""

    REQUEST = b'{"prompt": "%s"}' % (b"x" * 984)  # with {} of metadata 1,000 bytes

    @pytest.fixture
    def store(self, valkey: redis.Redis, redis_url: str) -> JobStore:
        return JobStore(valkey, JobsSettings(redis_url=redis_url, max_queued_bytes=4000, max_queued_bytes_per_key=2000))

    def put(self, store: JobStore, shop, **fields) -> str:
        return store.create(shop.job(request=self.REQUEST, **fields)).id

    def test_more_bytes_than_the_bound_are_refused_until_some_are_taken(self, store, shop):
        for _ in range(4):
            self.put(store, shop)
        with pytest.raises(QueueFull, match="nearly 4000 bytes are waiting") as caught:
            store.create(shop.job(request=b"{}"))
        assert caught.value.retry_after
        shop.take()
        self.put(store, shop)
        with pytest.raises(QueueFull):
            store.create(shop.job(request=b"{}"))

    def test_a_key_has_a_share_of_its_own(self, store, shop):
        for _ in range(2):
            self.put(store, shop, key="a")
        with pytest.raises(QueueFull, match="of this key of nearly 2000 bytes"):
            self.put(store, shop, key="a")
        for _ in range(2):
            self.put(store, shop, key="b")
        with pytest.raises(QueueFull, match="nearly 4000 bytes"):
            self.put(store, shop, key="c")

    def test_metadata_counts(self, store, shop):
        for _ in range(2):
            store.create(shop.job(metadata={"x": "y" * 990}, key="a"))
        with pytest.raises(QueueFull):
            store.create(shop.job(key="a"))

    def test_one_that_is_larger_than_the_bound_waits_alone(self, store, shop):
        store.create(shop.job(request=b"x" * 9000, key="a"))
        with pytest.raises(QueueFull):
            store.create(shop.job(key="b"))
        shop.take()
        store.create(shop.job(request=b"x" * 9000, key="a"))

    def test_a_refused_request_leaves_nothing_and_costs_no_rate(self, store, shop, valkey: redis.Redis):
        allowance = Allowance(requests_per_minute=1, burst=1)
        store.create(shop.job(request=b"x" * 9000))
        before = set(valkey.keys("*"))  # type: ignore[arg-type]
        with pytest.raises(QueueFull):
            store.create(shop.job(key="a", allowance=allowance))
        assert set(valkey.keys("*")) == before  # type: ignore[arg-type]

    @pytest.mark.parametrize("way", ["finish", "cancel", "expire", "lose", "evict"])
    def test_nothing_is_left_of_what_waited(self, store, shop, valkey: redis.Redis, way: str):
        job_id = self.put(store, shop, key="a")
        assert valkey.hgetall("explaind:waiting_bytes") == {b"*": b"1000", b"a": b"1000"}
        if way == "finish":
            shop.end(shop.take())
        elif way == "cancel":
            store.cancel(job_id)
        elif way == "expire":
            shop.age(job_id, store.settings.queue_ttl_s + 1)
            store.reap()
        elif way == "lose":
            claim = shop.take()
            shop.lose_all()
            assert valkey.hgetall("explaind:waiting_bytes") == {b"*": b"1000", b"a": b"1000"}
            shop.end(claim)  # requeued, and done all the same
        else:
            valkey.delete(f"explaind:job:{job_id}")
            assert store.claim("w", ["default"]) is None
        assert not valkey.exists("explaind:waiting_bytes", "explaind:waiting")

    async def test_the_census_tells_them(self, store, shop, async_valkey):
        self.put(store, shop)
        self.put(store, shop, key="a")
        assert (await AsyncJobStore(async_valkey, store.settings).stats()).waiting_bytes == 2000


@pytest.fixture
def full(valkey: redis.Redis) -> Iterator[redis.Redis]:
    """A server that can be filled up: `maxmemory` is taken back afterwards."""
    yield valkey
    valkey.config_set("maxmemory", 0)


def test_a_full_redis_refuses_new_jobs_and_lets_those_it_has_go_on_to_their_end(shop, full: redis.Redis):
    ids = [shop.put() for _ in range(4)]
    claims = [shop.take() for _ in range(3)]
    full.config_set("maxmemory", 1)
    with pytest.raises(StoreUnavailable):
        shop.put()
    shop.heartbeat()
    assert shop.store.workers()[0].name == "w"
    assert shop.store.progress(ids[0], claims[0].attempt, PROGRESS) is LeaseStatus.HELD
    shop.end(claims[0])
    assert shop.store.release(ids[1], claims[1].attempt)
    assert shop.store.cancel(ids[2]).state is JobState.CANCELLING
    full.config_set("maxmemory", 0)
    full.zadd("explaind:leases", {ids[2]: 1})
    full.config_set("maxmemory", 1)
    assert shop.store.reap() == 1
    assert [shop.store.get(job_id).state.value for job_id in ids] == ["succeeded", "queued", "cancelled", "queued"]
    assert shop.take().id in ids
    assert shop.store.result(ids[0]) == b'{"values": [1]}'
