"""Every refusal of Redis is StoreUnavailable, which says which and what to do; a mistake of ours stays one."""

import asyncio
from typing import cast

import pytest
import redis
import redis.asyncio
from redis._parsers.base import BaseParser

from explaind.contract.errors import StoreUnavailable
from explaind_jobs.redis_scripts.connection import async_redis_from
from explaind_jobs.redis_scripts.refusals import SILENT, UNKNOWN, refusal_of, translated
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import AsyncJobStore, JobStore
from explaind_jobs.store.records import NewJob
from tests.support.redis_refusals import REFUSALS, refusing

IN_REDIS_6 = "ERR Error running script (call to f_6b1bf486c81ceb7edf3c093f4c48582e38c0e791): @user_script:12: "
# What servers answer, as they put it on the wire.
REPLIES = [
    ("MISCONF", "MISCONF Errors writing to the AOF file: No space left on device"),
    ("MISCONF", "MISCONF Errors writing to the AOF file: No space left on device script: on @user_script:9."),
    ("MISCONF", "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk."),
    ("MISCONF", f"{IN_REDIS_6}@user_script: 12: -MISCONF Redis is configured to save RDB snapshots, but it's not"),
    ("OOM", "OOM command not allowed when used memory > 'maxmemory'."),
    ("OOM", f"{IN_REDIS_6}@user_script: 12: -OOM command not allowed when used memory > 'maxmemory'."),
    ("NOPERM", "NOPERM User bob has no permissions to run the 'evalsha' command"),
    ("NOPERM", "NOPERM this user has no permissions to access one of the keys used as arguments"),
    ("NOPERM", "ERR ACL failure in script: No permissions to access a key script: on @user_script:1."),
    ("NOPERM", f"{IN_REDIS_6}The user executing the script can't run this command or subcommand"),
    ("NOREPLICAS", "NOREPLICAS Not enough good replicas to write."),
    ("LOADING", "LOADING Redis is loading the dataset in memory"),
    ("BUSY", "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."),
    ("READONLY", "READONLY You can't write against a read only replica."),
    ("MASTERDOWN", "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
    ("CLUSTERDOWN", "CLUSTERDOWN Hash slot not served"),
    ("TRYAGAIN", "TRYAGAIN Multiple keys request during rehashing of slot"),
    ("MOVED", "MOVED 3999 127.0.0.1:6381"),
    ("ASK", "ASK 3999 127.0.0.1:6381"),
    ("CROSSSLOT", "CROSSSLOT Keys in request don't hash to the same slot"),
    ("REDIRECT", "REDIRECT 127.0.0.1:6380"),
    ("UNBLOCKED", "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"),
    ("DENIED", "DENIED Redis is running in protected mode because protected mode is enabled"),
    ("NOAUTH", "NOAUTH Authentication required."),
    ("WRONGPASS", "WRONGPASS invalid username-password pair or user is disabled."),
    ("MAXCLIENTS", "ERR max number of clients reached"),
    ("NOCOMMAND", "ERR unknown command 'EVALSHA', with args beginning with: "),
    ("NOCOMMAND", "ERR Unknown Redis command called from script script: on @user_script:3."),
    ("DBINDEX", "ERR DB index is out of range"),
    ("SOMENEWCODE", "SOMENEWCODE of a server to come"),
]


@pytest.mark.parametrize(("code", "reply"), REPLIES)
def test_it_says_which_and_what_to_do(code: str, reply: str) -> None:
    with pytest.raises(StoreUnavailable) as caught, translated():
        raise BaseParser.parse_error(reply)
    error = caught.value
    assert f"({code}): " in error.detail
    refusal = refusal_of(error)
    assert refusal is not SILENT
    assert (refusal is UNKNOWN) == (code == "SOMENEWCODE")
    assert refusal.why in error.detail
    assert refusal.remedy in (error.hint or "")
    problem = error.problem()
    assert (problem.status, problem.retryable, problem.code) == (503, True, "store_unavailable")
    assert error.retry_after
    for secret in ("bob", "127.0.0.1"):  # names and places of the inside are not told to callers
        assert secret not in str(error)


@pytest.mark.parametrize("error", [redis.ConnectionError("x"), redis.TimeoutError("x"), redis.InvalidResponse("HTTP")])
def test_no_redis_at_all(error: redis.RedisError) -> None:
    with pytest.raises(StoreUnavailable) as caught, translated():
        raise error
    assert caught.value.retry_after
    assert (refusal_of(caught.value) is SILENT) == (not isinstance(error, redis.InvalidResponse))


@pytest.mark.parametrize(
    "reply",
    [
        "ERR wrong number of arguments for 'get' command",
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "ERR Error compiling script (new function): user_script:1: '=' expected near 'x'",
        "ERR user_script:3: attempt to index a nil value script: on @user_script:3.",
        f"{IN_REDIS_6}@user_script: 12: -WRONGTYPE Operation against a key holding the wrong kind of value",
    ],
)
def test_a_mistake_of_ours_stays_one(reply: str) -> None:
    with pytest.raises(redis.ResponseError), translated():
        raise BaseParser.parse_error(reply)


def test_what_is_right_passes() -> None:
    with translated():
        pass
    with pytest.raises(ValueError, match="x"), translated():
        raise ValueError("x")


@pytest.mark.parametrize("code", REFUSALS)
def test_a_server_that_refuses_takes_jobs_again_by_itself(valkey: redis.Redis, redis_url: str, code: str) -> None:
    settings = JobsSettings(redis_url=redis_url)
    job = NewJob("explain/shap", "demo", "default", b"{}")
    store = JobStore(valkey, settings)
    accepted = store.create(job)

    async def refused_async() -> None:
        for client in (redis.asyncio.Redis.from_url(redis_url), async_redis_from(settings)):
            async with client:
                with pytest.raises(StoreUnavailable, match=rf"\({code}\): "):
                    await AsyncJobStore(client, settings).check_writable()

    with refusing(valkey, code):
        for act in (store.check_writable, lambda: store.create(job)):
            with pytest.raises(StoreUnavailable, match=rf"\({code}\): "):
                act()
        asyncio.run(refused_async())
    store.check_writable()
    claim = store.claim("w", ["default"])
    assert claim is not None
    assert (claim.id, claim.attempt) == (accepted.id, 1)
    assert store.create(job).id
    assert not valkey.exists("explaind:nothing")


def test_asking_whether_it_may_be_written_writes_nothing(valkey: redis.Redis, redis_url: str) -> None:
    def changes() -> int:
        return cast("dict[str, int]", valkey.info("persistence"))["rdb_changes_since_last_save"]

    before = changes()
    JobStore(valkey, JobsSettings(redis_url=redis_url)).check_writable()
    assert (valkey.dbsize(), changes()) == (0, before)
