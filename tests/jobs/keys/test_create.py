"""API keys in Redis: made, known again, ended; what they limit."""

import hashlib
import hmac
import time
from datetime import UTC, datetime, timedelta

import pytest
import redis

from explaind.contract.errors import JobNotFound, QueueFull
from explaind.contract.job import JobState
from explaind_jobs.keys import create, scripts
from explaind_jobs.keys.create import IssuedKey, issue_key
from explaind_jobs.keys.key_format import KEY, id_of, id_of_key, mac_of, mark_of, new_key
from explaind_jobs.keys.pepper import PepperError
from explaind_jobs.keys.records import Scope, permits
from explaind_jobs.store.job_store import JobStore
from explaind_jobs.store.records import ANONYMOUS, ANYONE, Allowance, NewJob, Outcome

RW = frozenset({Scope.READ, Scope.WRITE})


def made(store: JobStore, pepper: bytes, **fields) -> IssuedKey:
    return issue_key(store, pepper, **{"name": "laptop", "scopes": RW, **fields})


def job_of(key: IssuedKey | None = None) -> NewJob:
    if key is None:
        return NewJob("explain/shap", "demo", "default", b"{}")
    return NewJob("explain/shap", "demo", "default", b"{}", key=key.record.id, allowance=key.record.allowance)


def everything(client: redis.Redis) -> str:
    """All that the server holds, as one text."""
    readers = {b"string": client.get, b"hash": client.hgetall, b"set": client.smembers}
    held = {key: readers.get(client.type(key), lambda key: key)(key) for key in client.scan_iter()}  # type: ignore[arg-type]
    return repr(held)


def test_keys_have_one_form_and_are_never_alike() -> None:
    keys = [new_key() for _ in range(500)]
    assert len({key_id for key_id, _ in keys}) == len({key for _, key in keys}) == 500
    for key_id, key in keys:
        found = KEY.fullmatch(key)
        assert found is not None
        assert id_of_key(key) == id_of(key) == id_of(key_id) == found[1] == key_id
        assert len(key) == len("xp_") + 12 + 1 + 43  # 32 bytes in base64


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        lambda key: key + "\n",
        lambda key: key[:-1],
        lambda key: key + "a",
        lambda key: key[3:],
        lambda key: "xp_*" + key[4:],
        lambda key: "",
    ],
)
def test_what_has_not_the_form_has_no_id(change) -> None:
    assert id_of_key(change(new_key()[1])) is None


def test_the_key_is_kept_nowhere(store: JobStore, valkey: redis.Redis, pepper: bytes) -> None:
    issued = made(store, pepper)
    held = everything(valkey)
    secret = issued.key.split("_", 2)[2]
    assert secret not in held
    assert pepper.hex() not in held
    assert hashlib.sha256(issued.key.encode()).hexdigest() not in held
    assert mac_of(pepper, issued.key) == hmac.digest(pepper, issued.key.encode(), hashlib.sha256).hex()
    assert issued.record.mac == mac_of(pepper, issued.key)
    assert secret not in repr(issued)
    assert issued.record.mac not in repr(issued)


def test_a_key_is_known_again(store: JobStore, pepper: bytes) -> None:
    allowance = Allowance(600, 20, 7, 3)
    before = datetime.now(UTC) - timedelta(seconds=1)
    issued = made(store, pepper, scopes=frozenset({Scope.METRICS}), lifetime_s=3600, allowance=allowance)
    known = store.run(scripts.look_up(issued.record.id))
    assert known.found == [issued.record]
    assert known.mark == mark_of(pepper)
    key = known.found[0]
    assert (key.name, key.scopes, key.state, key.allowance) == ("laptop", {Scope.METRICS}, "active", allowance)
    assert before < key.created_at < datetime.now(UTC) + timedelta(seconds=1)
    assert key.expires_at == key.created_at + timedelta(hours=1)
    assert key.revoked_at is None
    assert store.run(scripts.look_up("a" * 12)).found == []


def test_no_key_no_door_and_no_way_back(store: JobStore, pepper: bytes) -> None:
    assert not store.run(scripts.look_up("")).asked_for
    issued = made(store, pepper)
    assert store.run(scripts.look_up("")).asked_for
    assert store.run(scripts.revoke(issued.record.id)) == "revoked"
    assert store.run(scripts.look_up("")).asked_for, "to revoke the last key must not open the door"


def test_revoked_once_and_for_all(store: JobStore, pepper: bytes) -> None:
    issued = made(store, pepper, lifetime_s=0.001)
    assert store.run(scripts.revoke(issued.record.id)) == "revoked"
    first = store.run(scripts.look_up(issued.record.id)).found[0]
    assert first.state == "revoked"
    assert first.revoked_at is not None
    time.sleep(0.005)
    assert store.run(scripts.revoke(issued.record.id)) == "already"
    assert store.run(scripts.look_up(issued.record.id)).found[0] == first
    assert store.run(scripts.revoke("a" * 12)) == "unknown"
    assert store.run(scripts.look_up("a" * 12)).found == []


def test_expires_by_the_clock_of_the_server(store: JobStore, pepper: bytes) -> None:
    issued = made(store, pepper, lifetime_s=0.05)
    until = time.monotonic() + 5
    while store.run(scripts.look_up(issued.record.id)).found[0].state == "active":
        assert time.monotonic() < until
    assert store.run(scripts.look_up(issued.record.id)).found[0].state == "expired"


def test_all_keys_oldest_first(store: JobStore, pepper: bytes) -> None:
    issued = []
    for name in ("one", "two", "three"):
        issued.append(made(store, pepper, name=name).record)
        time.sleep(0.002)
    store.run(scripts.revoke(issued[1].id))
    found = store.run(scripts.look_at_all()).found
    assert [(key.name, key.state) for key in found] == [("one", "active"), ("two", "revoked"), ("three", "active")]


def test_an_id_that_is_taken_is_not_taken_over(store: JobStore, pepper: bytes, monkeypatch) -> None:
    first = made(store, pepper)
    drawn = iter([(first.record.id, f"xp_{first.record.id}_{'A' * 43}"), new_key()])
    monkeypatch.setattr(create, "new_key", lambda: next(drawn))
    second = made(store, pepper, name="another")
    assert second.record.id != first.record.id
    assert store.run(scripts.look_up(first.record.id)).found == [first.record]


def test_another_pepper_is_refused_unless_it_is_meant(store: JobStore, pepper: bytes) -> None:
    made(store, pepper)
    other = bytes(32)
    with pytest.raises(PepperError, match="--replace-pepper"):
        made(store, other)
    assert len(store.run(scripts.look_at_all()).found) == 1
    made(store, other, replace_pepper=True)
    assert store.run(scripts.look_up("")).mark == mark_of(other) != mark_of(pepper)


@pytest.mark.parametrize(
    ("held", "allowed"),
    [
        ({"read"}, {"read"}),
        ({"write"}, {"read", "write"}),
        ({"metrics"}, {"metrics"}),
        ({"read", "metrics"}, {"read", "metrics"}),
        ({"admin"}, {"read", "write", "metrics", "admin"}),
        (set(), set()),
    ],
)
def test_what_scopes_include(held: set[str], allowed: set[str]) -> None:
    scopes = frozenset(Scope(word) for word in held)
    assert {scope for scope in Scope if permits(scopes, scope)} == allowed


def test_a_keys_jobs_run_one_at_a_time_when_it_says_so(store: JobStore, pepper: bytes) -> None:
    narrow = made(store, pepper, allowance=Allowance(max_running=1))
    first, second = store.create(job_of(narrow)).id, store.create(job_of(narrow)).id
    claim = store.claim("w", ["default"])
    assert claim is not None
    assert (claim.id, claim.key) == (first, narrow.record.id)
    assert store.claim("w", ["default"], held=1) is None, "one of its jobs runs already"
    other = store.create(job_of(made(store, pepper))).id
    beside = store.claim("w", ["default"], held=1)
    assert beside is not None
    assert beside.id == other, "the limit is one key's alone"
    assert store.finish(claim.id, claim.attempt, Outcome(JobState.SUCCEEDED, result=b"{}")) == "finished"
    follower = store.claim("w", ["default"], held=1)
    assert follower is not None
    assert follower.id == second


def test_a_keys_queue_is_bounded(store: JobStore, pepper: bytes) -> None:
    narrow, wide = made(store, pepper, allowance=Allowance(max_queued=1)), made(store, pepper)
    store.create(job_of(narrow))
    with pytest.raises(QueueFull, match="of this key"):
        store.create(job_of(narrow))
    store.create(job_of(wide))


def test_jobs_of_two_keys_are_apart(store: JobStore, pepper: bytes) -> None:
    one, two = made(store, pepper), made(store, pepper)
    of_one, of_two, of_nobody = (store.create(job_of(key)).id for key in (one, two, None))
    listed = {
        caller: [job.id for job in store.list(None, 10, caller=caller).data]
        for caller in (one.record.id, two.record.id, ANONYMOUS, ANYONE)
    }
    assert listed == {
        one.record.id: [of_one],
        two.record.id: [of_two],
        ANONYMOUS: [of_nobody],
        ANYONE: [of_nobody, of_two, of_one],
    }
    for ask in (store.get, store.cancel, store.delete):
        with pytest.raises(JobNotFound):
            ask(of_one, two.record.id)
    assert store.get(of_one, one.record.id).state is JobState.QUEUED
