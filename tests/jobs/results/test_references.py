"""Which blobs live: referred to by jobs, announced by writers, condemned by sweepers."""

import os
import random
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from explaind.contract.errors import ExplaindError, ResultLost, StoreUnavailable
from explaind.contract.job import JobState
from explaind_jobs.redis_scripts.script import ScriptCall, script_text
from explaind_jobs.results import scripts as result_calls
from explaind_jobs.results.blob_store import name_of
from explaind_jobs.results.codec import encode
from explaind_jobs.results.directory_blobs import DirectoryBlobs
from explaind_jobs.results.garbage_collection import REMOVAL_S, sweep, tidy
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store import transitions
from explaind_jobs.store.job_store import AsyncJobStore, JobStore
from explaind_jobs.store.records import NewJob, Outcome

RAW = ('{"values": [' + ", ".join(str(i * 0.37) for i in range(200)) + "]}").encode()
DIGEST = encode(RAW).digest
SMALL = b"{}"
KEY = f"explaind:blob:{DIGEST}"


def succeeded(result: bytes = RAW) -> Outcome:
    return Outcome(JobState.SUCCEEDED, result=result)


def run_job(store: JobStore, result: bytes = RAW) -> str:
    """A job that succeeded with that result."""
    job_id = store.create(NewJob("explain/shap", "demo", "default", b"{}")).id
    claim = store.claim("w", ["default"])
    assert claim is not None
    assert store.finish(job_id, claim.attempt, succeeded(result)) == "finished"
    return job_id


def blobs_in(root: Path) -> list[str]:
    return [path.name.partition(".")[0] for path in root.rglob("*.zst")]


def dead(valkey: redis.Redis) -> list[str]:
    found: Any = valkey.zrange("explaind:blobs_dead", 0, -1)
    return [digest.decode() for digest in found]


def age(valkey: redis.Redis, key: str = "blobs_dead", ms: int = result_calls.GRACE_MS + 1000) -> None:
    """Lets so much time pass for the digests of that set."""
    found: Any = valkey.zrange(f"explaind:{key}", 0, -1)
    for digest in found:
        valkey.zincrby(f"explaind:{key}", -ms, digest)


def test_small_results_stay_in_redis(store: JobStore, root: Path, valkey: redis.Redis) -> None:
    job_id = run_job(store, SMALL)
    assert store.result(job_id) == SMALL
    assert not root.exists()
    key = f"explaind:result:{encode(SMALL).digest[:32]}"
    assert valkey.get(key) == encode(SMALL).data
    assert 0 < valkey.ttl(key) <= 86_400  # type: ignore[operator]
    fields: Any = valkey.hgetall(f"explaind:job:{job_id}")
    assert (fields[b"result_at"], fields[b"result_size"]) == (b"inline", b"2")
    assert fields[b"result_digest"].decode() == encode(SMALL).digest


def test_large_results_are_only_referred_to(store: JobStore, root: Path, valkey: redis.Redis) -> None:
    job_id = run_job(store)
    assert store.result(job_id) == RAW
    assert blobs_in(root) == [DIGEST]
    assert not valkey.keys("explaind:result:*")
    fields: Any = valkey.hgetall(f"explaind:job:{job_id}")
    assert (fields[b"result_at"], fields[b"result_size"]) == (b"blob", str(len(RAW)).encode())
    assert int(fields[b"result_encoded"]) == (root / name_of(DIGEST)).stat().st_size
    assert valkey.smembers(KEY) == {job_id.encode()}
    assert dead(valkey) == []


def test_the_blob_is_there_before_the_job_has_ended(store: JobStore, root: Path) -> None:
    job_id = store.create(NewJob("explain/shap", "demo", "default", b"{}")).id
    claim = store.claim("w", ["default"])
    assert claim is not None
    write, seen = store.bodies.blobs.write, []

    def watched(digest: str, data: bytes) -> None:
        write(digest, data)
        seen.append((store.get(job_id).state, blobs_in(root)))

    store.bodies.blobs.write = watched  # type: ignore[method-assign]
    store.finish(job_id, claim.attempt, succeeded())
    assert seen == [(JobState.RUNNING, [DIGEST])]
    assert store.get(job_id).state is JobState.SUCCEEDED


def test_equal_results_share_a_blob_until_the_last_is_gone(store: JobStore, root: Path, valkey: redis.Redis) -> None:
    first, second = run_job(store), run_job(store)
    assert blobs_in(root) == [DIGEST]
    store.delete(first)
    age(valkey)
    assert (store.sweep(), store.result(second)) == (0, RAW)
    store.delete(second)
    assert dead(valkey) == [DIGEST]
    assert valkey.exists(KEY, "explaind:blob_of") == 0


def test_a_dead_blob_goes_after_the_grace(store: JobStore, root: Path, valkey: redis.Redis) -> None:
    store.delete(run_job(store))
    age(valkey, ms=result_calls.GRACE_MS - 60_000)
    assert (store.sweep(), blobs_in(root)) == (0, [DIGEST])
    age(valkey, ms=120_000)
    assert (store.sweep(), blobs_in(root)) == (1, [])
    assert not [key for key in valkey.keys("explaind:blob*") if b"tidied" not in key]  # type: ignore[union-attr]


@pytest.mark.parametrize("finder", ["reap", "list"])
def test_expired_jobs_refer_to_nothing(store: JobStore, valkey: redis.Redis, finder: str) -> None:
    job_id = run_job(store)
    valkey.delete(f"explaind:job:{job_id}")
    valkey.zadd("explaind:expiring", {f"{job_id}  ": 1})
    if finder == "reap":
        store.reap()
    else:
        store.list(None, 10)
        store.reap()
    assert dead(valkey) == [DIGEST]
    assert valkey.exists(KEY) == 0


def test_a_result_that_comes_again_saves_its_blob(store: JobStore, root: Path, valkey: redis.Redis) -> None:
    store.delete(run_job(store))
    age(valkey)
    again = run_job(store)
    assert dead(valkey) == []
    assert (store.sweep(), store.result(again)) == (0, RAW)


def test_an_announced_blob_is_safe_from_sweepers(store: JobStore, root: Path, valkey: redis.Redis) -> None:
    # Long dead, and about to be written again: the sweeper comes between the write and the reference.
    store.delete(run_job(store))
    age(valkey)
    store.run(result_calls.announce(DIGEST))
    assert store.sweep() == 0
    assert blobs_in(root) == [DIGEST]


def test_a_blob_under_removal_is_not_written(store: JobStore, root: Path, valkey: redis.Redis) -> None:
    # The sweeper has condemned the blob and is about to remove the file: a writer has to wait for it.
    store.delete(run_job(store))
    age(valkey)
    job_id = store.create(NewJob("explain/shap", "demo", "default", b"{}")).id
    claim = store.claim("w", ["default"])
    assert claim is not None
    assert store.run(result_calls.gc_collect(10)) == [DIGEST]
    with pytest.raises(StoreUnavailable, match="removed at this moment"):
        store.finish(job_id, claim.attempt, succeeded())
    assert store.get(job_id).state is JobState.RUNNING
    store.bodies.blobs.remove(DIGEST)
    store.run(result_calls.gc_confirm(DIGEST))
    assert store.finish(job_id, claim.attempt, succeeded()) == "finished"
    assert store.result(job_id) == RAW


def test_writers_and_sweepers_at_the_same_time_lose_nothing(
    store: JobStore, settings: JobsSettings, redis_url: str
) -> None:
    # Harder than life: the grace passes now and again in the middle of a write too.
    stop, swept, refusals = threading.Event(), [], 0
    chance = random.Random(7)

    def sweep_on() -> None:
        with redis.Redis.from_url(redis_url) as client:
            other = JobStore(client, settings)
            while not stop.wait(chance.random() * 0.01):
                age(client)
                swept.append(other.sweep())

    sweeper = threading.Thread(target=sweep_on)
    sweeper.start()
    try:
        for _ in range(200):
            job_id = store.create(NewJob("explain/shap", "demo", "default", b"{}")).id
            claim = store.claim("w", ["default"])
            assert claim is not None
            for _ in range(1000):
                try:
                    assert store.finish(job_id, claim.attempt, succeeded()) == "finished"
                    break
                except StoreUnavailable:
                    refusals += 1
            assert store.result(job_id) == RAW
            store.delete(job_id)
    finally:
        stop.set()
        sweeper.join()
    assert sum(swept) > 10
    assert refusals > 0


def test_a_finish_after_the_blob_was_swept_is_not_accepted(store: JobStore, valkey: redis.Redis) -> None:
    # The worker stood still for hours between the write and its finish.
    job_id = store.create(NewJob("explain/shap", "demo", "default", b"{}")).id
    claim = store.claim("w", ["default"])
    assert claim is not None
    outcome, stored = succeeded(), encode(RAW).stored(0)
    finish = transitions.finish(job_id, claim.attempt, outcome, stored)
    store.run(result_calls.announce(DIGEST))
    store.bodies.blobs.write(DIGEST, encode(RAW).data)
    age(valkey)
    assert store.sweep() == 1
    with pytest.raises(StoreUnavailable, match="too long"):
        store.run(finish)
    job = store.get(job_id)
    assert (job.state, valkey.exists(KEY)) == (JobState.RUNNING, 0)
    assert store.finish(job_id, claim.attempt, outcome) == "finished"
    assert store.result(job_id) == RAW


@pytest.mark.parametrize("ending", ["already", "fenced", "unknown"])
def test_what_a_refused_finish_wrote_is_swept(store: JobStore, root: Path, valkey: redis.Redis, ending: str) -> None:
    job_id = store.create(NewJob("explain/shap", "demo", "default", b"{}")).id
    claim = store.claim("w", ["default"])
    assert claim is not None
    if ending == "already":
        store.finish(job_id, claim.attempt, Outcome(JobState.CANCELLED))
    if ending == "fenced":
        store.release(job_id, claim.attempt)
        store.claim("other", ["default"])
    asked = "job_x" if ending == "unknown" else job_id
    assert store.finish(asked, claim.attempt, succeeded()) == ending
    assert (blobs_in(root), dead(valkey)) == ([DIGEST], [DIGEST])
    age(valkey)
    assert (store.sweep(), blobs_in(root)) == (1, [])


def test_what_a_dead_writer_wrote_is_swept(store: JobStore, root: Path, valkey: redis.Redis) -> None:
    store.run(result_calls.announce(DIGEST))
    store.bodies.blobs.write(DIGEST, b"x")
    age(valkey)
    assert (store.sweep(), blobs_in(root)) == (1, [])


def test_what_a_dead_sweeper_condemned_is_taken_up(store: JobStore, root: Path, valkey: redis.Redis) -> None:
    store.delete(run_job(store))
    age(valkey)
    assert store.run(result_calls.gc_collect(10)) == [DIGEST]
    assert (store.sweep(), blobs_in(root)) == (0, [DIGEST])
    age(valkey, "blobs_condemned", result_calls.CONDEMNED_MS + 1000)
    assert (store.sweep(), blobs_in(root)) == (1, [])
    assert valkey.exists("explaind:blobs_condemned") == 0


def test_nobody_waits_for_ever_for_a_dead_sweeper(store: JobStore, valkey: redis.Redis) -> None:
    store.delete(run_job(store))
    age(valkey)
    store.run(result_calls.gc_collect(10))
    age(valkey, "blobs_condemned", result_calls.CONDEMNED_MS + 1000)
    assert store.result(run_job(store)) == RAW
    assert valkey.exists("explaind:blobs_condemned") == 0


def test_a_sweeper_that_stood_still_removes_nothing(store: JobStore, root: Path, valkey: redis.Redis) -> None:
    store.delete(run_job(store))
    age(valkey)
    times = iter([100.0, 101.0 + REMOVAL_S])
    sweep(store.run, store.bodies.blobs, clock=lambda: next(times))
    assert blobs_in(root) == [DIGEST]
    assert valkey.zcard("explaind:blobs_condemned") == 1


def test_a_blob_that_cannot_be_removed_keeps_no_other(store: JobStore, root: Path, valkey: redis.Redis) -> None:
    other = RAW + b" "
    for raw in (RAW, other):
        store.delete(run_job(store, raw))
    age(valkey)
    place = root / name_of(DIGEST)
    place.unlink()
    place.mkdir()
    assert store.sweep() == 2
    assert not (root / name_of(encode(other).digest)).exists()
    assert valkey.zrange("explaind:blobs_condemned", 0, -1) == [DIGEST.encode()]


def test_a_store_that_cannot_be_written_leaves_the_job_running(store: JobStore, root: Path) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    root.write_text("not a directory")
    job_id = store.create(NewJob("explain/shap", "demo", "default", b"{}")).id
    claim = store.claim("w", ["default"])
    assert claim is not None
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        store.finish(job_id, claim.attempt, succeeded())
    assert store.get(job_id).state is JobState.RUNNING
    root.unlink()
    assert store.finish(job_id, claim.attempt, succeeded()) == "finished"
    assert store.result(job_id) == RAW


@pytest.mark.parametrize("damage", ["gone", "truncated", "other", "bits"])
def test_a_damaged_blob_is_an_error_that_says_so(store: JobStore, root: Path, damage: str) -> None:
    job_id = run_job(store)
    place = root / name_of(DIGEST)
    data = place.read_bytes()
    changed = {"truncated": data[:-9], "other": encode(b"y" * len(RAW)).data, "bits": data[:-30] + b"\1" + data[-29:]}
    if damage == "gone":
        place.unlink()
    else:
        place.write_bytes(changed[damage])
    stored = store.run(result_calls.stored(job_id))
    assert stored is not None
    for read in (lambda: store.result(job_id), lambda: store.bodies.encoded(stored)):
        with pytest.raises(ResultLost) as caught:
            read()
        assert "Submit the job again" in str(caught.value)
    assert run_job(store)
    assert store.result(job_id) == RAW


def test_a_result_can_be_shared_with_another_job(store: JobStore, valkey: redis.Redis) -> None:
    # As a cached answer does, inside the script that makes it.
    share = "\n".join([script_text("get").rpartition("--")[0], "return share_result(ARGV[1], ARGV[2], 60) and 1 or 0"])

    def shared(source: str) -> str | None:
        job_id = store.create(NewJob("explain/shap", "demo", "default", b"{}")).id
        return job_id if valkey.eval(share, 1, "explaind:", source, job_id) else None

    large, small = run_job(store), run_job(store, SMALL)
    of_large, of_small = shared(large), shared(small)
    assert of_large
    assert of_small
    assert (store.result(of_large), store.result(of_small)) == (RAW, SMALL)
    assert valkey.hgetall("explaind:results") == {encode(SMALL).digest[:32].encode(): b"2"}
    store.delete(large)
    assert dead(valkey) == []
    assert shared(large) is None
    valkey.delete(f"explaind:result:{encode(SMALL).digest[:32]}")
    assert shared(small) is None


def test_every_key_carries_the_prefix(valkey: redis.Redis, settings: JobsSettings) -> None:
    store = JobStore(valkey, settings.model_copy(update={"key_prefix": "other:"}))
    store.delete(run_job(store))
    store.sweep()
    tidy(store.run, store.bodies.blobs)
    keys: Any = valkey.keys("*")
    assert b"other:blobs_tidied" in keys
    assert all(key.startswith(b"other:") for key in keys)


def test_the_store_is_tidied_once_a_day(store: JobStore, blobs: DirectoryBlobs, valkey: redis.Redis) -> None:
    blobs.write(DIGEST, b"x")
    folder = (store.settings.data_dir / "results" / name_of(DIGEST)).parent
    for turn, expected in ((1, 1), (2, 0)):
        left = folder / f".{turn}.tmp"
        left.write_text("half")
        os.utime(left, (1, 1))
        assert tidy(store.run, store.bodies.blobs) == expected
    assert 86_000 < valkey.ttl("explaind:blobs_tidied") <= 86_400  # type: ignore[operator]


async def test_the_async_store_reads_what_the_sync_one_wrote(
    async_valkey: redis.asyncio.Redis, store: JobStore, settings: JobsSettings
) -> None:
    asynchronous = AsyncJobStore(async_valkey, settings)
    large, small = run_job(store), run_job(store, SMALL)
    assert await asynchronous.result(large) == RAW
    assert await asynchronous.result(small) == SMALL
    assert await asynchronous.result("job_x") is None
    stored = await asynchronous.stored_result(large)
    assert stored is not None
    assert replace(stored, inline=None) == encode(RAW).stored(0)


def test_a_reply_to_an_unknown_word_is_not_swallowed() -> None:
    call: ScriptCall[None] = result_calls.announce(DIGEST)
    assert call.parse(b"go") is None
    with pytest.raises(ExplaindError):
        call.parse(b"wait")


def test_the_store_imports_no_bucket_library() -> None:
    code = (
        "import sys, explaind_jobs.store.job_store; sys.exit(bool({'fsspec', 's3fs', 'botocore'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
