"""Keys over HTTP: from the first one on, each for itself, bounded, never written down."""

import json
import logging
from datetime import timedelta
from hmac import compare_digest
from typing import Any

import httpx
import pytest
import redis.asyncio

from explaind_jobs.keys import scripts
from explaind_jobs.store.job_store import AsyncJobStore
from explaind_jobs.store.records import Allowance
from explaind_service.auth import key_verifier
from explaind_service.auth.key_verifier import KeyVerifier
from explaind_service.settings import ServiceSettings
from tests.support import DOCUMENT
from tests.support.apps import create_app

PEPPER = bytes(32)


@pytest.fixture
def async_store(async_valkey: redis.asyncio.Redis, settings: ServiceSettings) -> AsyncJobStore:
    return AsyncJobStore(async_valkey, settings)


async def test_nobody_is_asked_before_the_first_key(client, issue, revoke, forgetful, shap, expect_problem) -> None:
    first = await client.post("/explain/shap", json=shap, headers={"Authorization": "Bearer of-another-service"})
    assert first.status_code == 202
    assert (await client.get(first.headers["location"])).status_code == 200
    key = issue("read")
    expect_problem(await client.get("/jobs"), 401, "unauthenticated")
    with_key = {"Authorization": f"Bearer {key.key}"}
    assert (await client.get("/jobs", headers=with_key)).json()["data"] == [], "what nobody's key made is not its own"
    revoke(key)
    problem = expect_problem(await client.get("/jobs"), 401, "unauthenticated")
    assert "none was sent" in problem["detail"]


async def test_the_id_of_a_key_with_another_secret_is_no_key(client, issue, forgetful, expect_problem) -> None:
    key, other = issue().key, issue().key
    forged = key[: len("xp_") + 12] + other[len("xp_") + 12 :]
    response = await client.get("/jobs", headers={"Authorization": f"Bearer {forged}"})
    assert "not known" in expect_problem(response, 401, "unauthenticated")["detail"]
    assert (await client.get("/jobs", headers={"Authorization": f"Bearer {key}"})).status_code == 200


async def test_listings_are_apart(holder_of, issue, shap) -> None:
    one, two, admin = issue(), issue(), issue("admin")
    of_one = [(await holder_of(one)("POST", "/explain/shap", json=shap)).json()["id"] for _ in range(3)]
    of_two = [(await holder_of(two)("POST", "/explain/shap", json=shap)).json()["id"] for _ in range(2)]

    async def listed(key: Any, **query: Any) -> list[str]:
        return [job["id"] for job in (await holder_of(key)("GET", "/jobs", params=query)).json()["data"]]

    assert await listed(one) == of_one[::-1]
    assert await listed(two) == of_two[::-1]
    assert await listed(admin) == [*of_two[::-1], *of_one[::-1]]
    assert await listed(one, after=of_two[1]) == of_one[::-1], "another's id is a place, not a key to its jobs"


async def test_an_idempotency_key_belongs_to_its_api_key(holder_of, issue, shap) -> None:
    same = {"Idempotency-Key": "same"}
    answers = [await holder_of(key)("POST", "/explain/shap", json=shap, headers=same) for key in (issue(), issue())]
    assert len({answer.json()["id"] for answer in answers}) == 2
    assert [answer.headers.get("idempotent-replayed") for answer in answers] == [None, None]


async def test_the_rate_and_its_headers(holder_of, issue, shap, expect_problem) -> None:
    send = holder_of(issue(allowance=Allowance(requests_per_minute=6, burst=2)))
    first, second, third = [await send("POST", "/explain/shap", json=shap) for _ in range(3)]
    assert [answer.status_code for answer in (first, second, third)] == [202, 202, 429]
    for answer, left in ((first, 1), (second, 0), (third, 0)):
        assert answer.headers["ratelimit-policy"] == '"requests";q=2;w=20'
        name, remaining, seconds = answer.headers["ratelimit"].split(";")
        assert (name, remaining) == ('"requests"', f"r={left}")
        assert 0 < int(seconds.removeprefix("t=")) <= 20
    problem = expect_problem(third, 429, "rate_limited")
    assert problem["retryable"] is True
    assert 0 < int(third.headers["retry-after"]) <= 10
    # To look costs nothing, and another key is not held up.
    assert "ratelimit" not in (await send("GET", first.headers["location"])).headers
    other = await holder_of(issue())("POST", "/explain/shap", json=shap)
    assert other.status_code == 202
    assert "ratelimit" not in other.headers


async def test_the_bound_on_waiting_jobs(holder_of, issue, shap, expect_problem) -> None:
    send = holder_of(issue(allowance=Allowance(max_queued=1)))
    assert (await send("POST", "/explain/shap", json=shap)).status_code == 202
    refused = await send("POST", "/explain/shap", json={**shap, "seed": 5})
    assert "of this key" in expect_problem(refused, 429, "queue_full")["detail"]
    assert "retry-after" in refused.headers


async def test_the_job_carries_its_key_to_the_worker(holder_of, issue, worker, shap) -> None:
    key = issue()
    await holder_of(key)("POST", "/explain/shap", json=shap)
    assert worker.claim().key == key.record.id


async def test_beyond_loopback_keys_are_asked_for_before_there_are_any(redis_url, client_of, expect_problem) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):  # noqa: S104
        async with client_of(create_app(ServiceSettings(redis_url=redis_url, host=host))) as client:
            expect_problem(await client.get("/jobs"), 401, "unauthenticated")


async def test_anonymous_by_explicit_wish_until_there_are_keys(redis_url, client_of, issue, forgetful) -> None:
    settings = ServiceSettings(redis_url=redis_url, host="0.0.0.0", allow_anonymous=True)  # noqa: S104
    async with client_of(create_app(settings)) as client:
        assert (await client.get("/jobs", headers={"Host": "explaind.internal"})).status_code == 200
        issue()
        assert (await client.get("/jobs")).status_code == 401


async def test_a_secret_is_compared_whether_its_id_is_known_or_not(client, issue, forgetful, monkeypatch) -> None:
    key = issue()
    compared: list[tuple[int, int]] = []

    def spy(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return compare_digest(one, other)

    monkeypatch.setattr(key_verifier, "compare_digest", spy)
    wrong = f"xp_{key.record.id}_{'A' * 43}"
    for shown in (wrong, f"xp_{'a' * 12}_{'A' * 43}", "xp_short", key.key):
        compared.clear()
        await client.get("/jobs", headers={"Authorization": f"Bearer {shown}"})
        assert compared == [(64, 64)], shown


async def test_no_key_is_written_down(client, issue, revoke, forgetful, shap, caplog, worker) -> None:
    key, other, ended = issue(), issue("metrics"), issue()
    revoke(ended)
    shown = [issued.key for issued in (key, other, ended)]
    shown += [f"xp_{key.record.id}_{'B' * 43}", "xp_mistyped-secret-of-mine"]
    texts: list[str] = []
    with caplog.at_level(logging.DEBUG):
        for text in shown:
            headers = {"Authorization": f"Bearer {text}"}
            for request in (
                client.build_request("POST", "/explain/shap", json=shap, headers=headers),
                client.build_request("POST", "/explain/shap", json={**shap, "units": "none"}, headers=headers),
                client.build_request("POST", "/explain/shap", content=b"{", headers=headers),
                client.build_request("GET", "/jobs", headers=headers),
                client.build_request("GET", "/nowhere", headers=headers),
            ):
                answer = await client.send(request)
                texts.append(answer.text + repr(answer.headers))
        worker.succeed()
    texts.append(caplog.text)
    assert caplog.records, "DEBUG shows something"
    for text in shown:
        secret = text.split("_", 2)[-1]  # which may hold more of them
        assert not any(secret in said for said in texts)
    for issued in (key, other, ended):
        assert not any(issued.record.mac in said for said in texts)


async def test_an_error_of_the_service_says_no_key(settings, client_of, issue, forgetful, caplog) -> None:
    app, key = create_app(settings), issue()

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("inside")

    async with client_of(app) as client:
        with caplog.at_level(logging.DEBUG):
            answer = await client.get("/broken", headers={"Authorization": f"Bearer {key.key}"})
    assert answer.status_code == 500
    assert "RuntimeError" in caplog.text
    assert key.key not in caplog.text + answer.text


async def test_what_redis_said_counts_for_a_second(async_store, issue, revoke, settings) -> None:
    from explaind.contract.errors import Unauthenticated
    from explaind_jobs.keys.pepper import load_pepper

    now = 100.0
    ring = KeyVerifier(async_store, load_pepper(settings), clock=lambda: now)
    key = issue()
    assert ring.verified(key.key, await ring.look_up(key.record.id)).id == key.record.id
    revoke(key)
    now += 0.99
    assert ring.verified(key.key, await ring.look_up(key.record.id))
    now += 0.02
    with pytest.raises(Unauthenticated, match="revoked"):
        ring.verified(key.key, await ring.look_up(key.record.id))


async def test_the_ring_remembers_few_and_no_ids_that_are_none(async_store, issue, monkeypatch) -> None:
    monkeypatch.setattr(key_verifier, "MAX_REMEMBERED", 2)
    ring = KeyVerifier(async_store, PEPPER)
    for key_id in (*(issue().record.id for _ in range(4)), "a" * 12, "b" * 12, ""):
        await ring.look_up(key_id)
    assert len(ring._remembered) == 2
    assert not {"a" * 12, "b" * 12} & set(ring._remembered)


@pytest.mark.parametrize("presented", ["unknown id", "wrong secret", "wrong secret of a key in use", "no key at all"])
async def test_every_refusal_asks_redis_once_and_compares_once(client, issue, monkeypatch, presented: str) -> None:
    """Its time tells nobody which ids are those of keys, nor which keys are in use."""
    key = issue()
    wrong = f"{key.key[:-2]}{'aa' if key.key[-2:] != 'aa' else 'bb'}"
    if presented == "wrong secret of a key in use":
        assert (await client.get("/jobs", headers={"Authorization": f"Bearer {key.key}"})).status_code == 200
    work: list[str] = []
    ask, compare, read = AsyncJobStore.run, key_verifier.compare_digest, scripts._key

    async def asked(store, call):
        if call.script == "apikey_list":  # what delivers webhooks asks too
            work.append("ask")
        return await ask(store, call)

    def compared(one, other):
        work.append("compare")
        return compare(one, other)

    def key_read(row):
        work.append("read")
        return read(row)

    monkeypatch.setattr(AsyncJobStore, "run", asked)
    monkeypatch.setattr(key_verifier, "compare_digest", compared)
    monkeypatch.setattr(scripts, "_key", key_read)
    sent = wrong if "secret" in presented else f"xp_{'a' * 12}_{'b' * 43}" if presented == "unknown id" else "nonsense"
    answer = await client.get("/jobs", headers={"Authorization": f"Bearer {sent}"})
    assert (answer.status_code, answer.json()["detail"]) == (401, "This API key is not known here.")
    assert sorted(work) == ["ask", "compare", "read"]


async def test_a_service_with_another_pepper_says_so_once(async_store, issue, caplog) -> None:
    ring, key = KeyVerifier(async_store, PEPPER), issue()
    with caplog.at_level(logging.ERROR, "explaind_service"):
        for key_id in (key.record.id, "", "a" * 12):
            await ring.look_up(key_id)
    (record,) = caplog.records
    assert "another pepper" in record.message


async def test_the_moment_of_expiry_is_said(client, issue, forgetful, store, expect_problem) -> None:
    key = issue(lifetime_s=3600)
    past = key.record.created_at - timedelta(days=1)
    store.client.hset(f"explaind:apikey:{key.record.id}", "expires", round(past.timestamp() * 1000))
    problem = expect_problem(
        await client.get("/jobs", headers={"Authorization": f"Bearer {key.key}"}), 401, "unauthenticated"
    )
    assert f"{past:%Y-%m-%d}" in problem["detail"]


@pytest.mark.parametrize("value", ["é", "xp_" + "é" * 40, "x" * 60_000, "\x80\xff"])
async def test_odd_credentials(client: httpx.AsyncClient, issue, forgetful, value: str) -> None:
    issue()
    answer = await client.get("/jobs", headers={"Authorization": b"Bearer " + value.encode("utf-8")})
    assert answer.status_code == 401
    assert len(answer.content) < 1500


def test_the_document_says_how() -> None:
    document = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    assert document["components"]["securitySchemes"]["ApiKey"]["scheme"] == "bearer"
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path in {"/", "/healthz", "/readyz"}:
                assert "security" not in operation
                continue
            (needed,) = operation["security"]
            assert list(needed) == ["ApiKey"]
            assert operation["responses"]["401"] == {"$ref": "#/components/responses/Unauthenticated"}
            assert {"403", "503"} <= set(operation["responses"])
    submission = document["paths"]["/explain/shap"]["post"]
    assert submission["security"] == [{"ApiKey": ["write"]}]
    shared = document["components"]["responses"]
    assert "WWW-Authenticate" in shared["Unauthenticated"]["headers"]
    headers = {
        status: set(shared[submission["responses"][status]["$ref"].rpartition("/")[2]]["headers"])
        for status in ("200", "202", "429")
    }
    assert all({"RateLimit", "RateLimit-Policy"} <= found for found in headers.values())
    assert "Retry-After" in headers["429"]
