"""The sync and the async client do the same; where they go and what they show."""

import asyncio

import httpx
import pytest

from explaind import AsyncClient, Client
from explaind.contract.errors import InvalidRequest, NotPermitted, QueueFull, Unauthenticated
from explaind.contract.estimate import Estimate
from explaind.contract.registry import all_methods

PAGE_OF_ONE = {"path": "/values", "offset": 0, "limit": 1, "total": 1, "has_more": False}
SHAP = {"model": "demo", "prompt": "great food"}


def replies(says_job, job_json, attribution_json) -> list:
    busy = QueueFull("Full.").problem().model_dump_json()
    return [
        httpx.Response(429, content=busy, headers={"retry-after": "3"}),
        says_job("queued", status=202),
        httpx.ConnectError("refused"),
        says_job("running"),
        says_job("succeeded"),
        httpx.Response(200, json=attribution_json),
        httpx.Response(200, json={"data": [job_json(id="job_2")], "has_more": True}),
        httpx.Response(200, json={"data": [job_json(id="job_1")], "has_more": False}),
        says_job("cancelled"),
        httpx.Response(204),
        httpx.Response(200, json={**PAGE_OF_ONE, "data": [1]}),
        httpx.Response(200, json={"data": []}),
    ]


def told(requests: list[httpx.Request]) -> list[tuple]:
    return [(r.method, str(r.url), r.content, sorted(set(r.headers) - {"idempotency-key"})) for r in requests]


async def test_sync_and_async_send_the_same(
    *, client: Client, async_client: AsyncClient, script, clock, says_job, job_json, attribution_json
):
    script.says(*replies(says_job, job_json, attribution_json))
    result = client.explain.shap(**SHAP)
    ids = [job.id for job in client.jobs.list()]
    client.jobs.cancel("job_2")
    client.jobs.delete("job_2")
    page = client.jobs.result_page("job_1", "/values", limit=1)
    client.models()
    sync_requests, sync_slept = script.requests, clock.slept

    script.requests, clock.slept = [], []
    script.says(*replies(says_job, job_json, attribution_json))
    async_result = await async_client.explain.shap(**SHAP)
    async_ids = [job.id async for job in async_client.jobs.list()]
    await async_client.jobs.cancel("job_2")
    await async_client.jobs.delete("job_2")
    assert await async_client.jobs.result_page("job_1", "/values", limit=1) == page
    await async_client.models()

    assert told(script.requests) == told(sync_requests)
    assert clock.slept == sync_slept
    assert (async_result, async_ids) == (result, ids)


def test_every_method_has_its_call(client: Client, async_client: AsyncClient):
    for method in all_methods().values():
        for made in (client, async_client):
            assert getattr(getattr(made, method.verb), method.name.replace("-", "_")).method is method


async def test_an_async_callback_is_awaited(async_client: AsyncClient, script, says_job, attribution_json):
    seen = []

    async def on_progress(job) -> None:
        await asyncio.sleep(0)
        seen.append(job.state.value)

    script.says(says_job("queued", status=202), says_job("succeeded", result=attribution_json))
    await async_client.explain.shap.with_options(on_progress=on_progress)(**SHAP)
    assert seen == ["queued", "succeeded"]


async def test_a_cancelled_task_cancels_its_job(async_client: AsyncClient, script, says_job):
    waiting = asyncio.Event()

    async def forever(_: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    async_client.driver.sleep = forever
    script.says(says_job("queued", status=202), says_job("cancelling"))
    task = asyncio.create_task(async_client.explain.shap(**SHAP))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert script.asked[-1].endswith("/cancel")


def test_the_address_and_the_key_come_from_the_environment(monkeypatch, script):
    monkeypatch.setenv("EXPLAIND_URL", "http://there.test:9")
    monkeypatch.setenv("EXPLAIND_API_KEY", "secret")
    script.says(httpx.Response(200, json={"data": []}))
    with Client(transport=httpx.MockTransport(script)) as client:
        client.models()
        assert "secret" not in repr(client)
    assert str(script.requests[0].url) == "http://there.test:9/models"
    assert script.requests[0].headers["authorization"] == "Bearer secret"


def test_what_is_given_comes_before_the_environment(monkeypatch, script):
    monkeypatch.setenv("EXPLAIND_URL", "http://there.test:9")
    monkeypatch.delenv("EXPLAIND_API_KEY", raising=False)
    script.says(httpx.Response(200, json={"data": []}))
    with Client("here.test:7/under/", transport=httpx.MockTransport(script)) as client:
        client.models()
    assert str(script.requests[0].url) == "http://here.test:7/under/models"
    assert "authorization" not in script.requests[0].headers


def test_a_key_with_its_line_end_is_that_key(monkeypatch, script):
    monkeypatch.setenv("EXPLAIND_API_KEY", " xp_key\n")
    script.says(httpx.Response(200, json={"data": []}))
    with Client(transport=httpx.MockTransport(script)) as client:
        client.models()
    assert script.requests[0].headers["authorization"] == "Bearer xp_key"


@pytest.mark.parametrize("key", ["xp_a b", "xp_a\nX-Admin: 1", "xp_ключ", "xp_\x00"])
def test_a_key_that_is_none_is_not_sent_and_not_shown(key):
    with pytest.raises(Unauthenticated, match="no key does") as caught:
        Client(api_key=key)
    assert key not in str(caught.value)


async def test_what_keeps_a_caller_out_is_raised(client: Client, async_client: AsyncClient, script):
    missing = Unauthenticated("None was sent.", hint="Set EXPLAIND_API_KEY.").problem().model_dump_json()
    lacking = NotPermitted("It lacks `write`.", hint="--scopes write").problem().model_dump_json()
    script.says(*(httpx.Response(status, content=body) for status, body in [(401, missing), (403, lacking)] * 2))
    with pytest.raises(Unauthenticated, match="EXPLAIND_API_KEY"):
        client.models()
    with pytest.raises(NotPermitted, match="--scopes write"):
        client.submit("explain/shap", SHAP)
    with pytest.raises(Unauthenticated):
        await async_client.models()
    with pytest.raises(NotPermitted):
        await async_client.submit("explain/shap", SHAP)
    assert len(script.requests) == 4, "sending it again changes nothing"


def test_the_default_address(monkeypatch):
    monkeypatch.delenv("EXPLAIND_URL", raising=False)
    with Client() as client:
        assert client.base_url == "http://127.0.0.1:8000"


def test_a_method_call_knows_its_method(client: Client):
    assert repr(client.explain.shap) == "<explain/shap: Token SHAP>"
    assert (client.explain.shap.__doc__ or "").startswith("Token SHAP: ")


async def test_a_fresh_answer_is_asked_for(client: Client, async_client: AsyncClient, script, says_job):
    script.says(*[says_job("queued", status=202) for _ in range(5)])
    client.submit("explain/shap", SHAP, fresh=True)
    client.explain.shap.with_options(fresh=True).submit(**SHAP)
    await async_client.submit("explain/shap", SHAP, fresh=True)
    await async_client.explain.shap.with_options(fresh=True).submit(**SHAP)
    assert [request.headers.get("cache-control") for request in script.requests] == ["no-cache"] * 4
    client.submit("explain/shap", SHAP)
    assert "cache-control" not in script.requests[-1].headers


ESTIMATE = {
    "kind": "estimate", "method": "explain/shap", "evaluations": 512, "forwards": 1, "tokens_evaluated": 1023,
    "tokens_saved": 9257, "model_bytes": 2_000_000, "peak_bytes": 10_500_000, "free_bytes": 1_500_000_000,
    "fits": True, "seconds": 0.12, "load_s": None, "basis": "assumed",
}  # fmt: skip


async def test_what_a_call_would_cost_is_asked_with_the_calls_own_words(
    client: Client, async_client: AsyncClient, script, says_job
):
    script.says(*(says_job(method="estimate/explain/shap", result=ESTIMATE) for _ in range(4)))
    keyed = client.explain.shap.with_options(idempotency_key="mine")
    async_keyed = async_client.explain.shap.with_options(idempotency_key="mine")
    found = [
        keyed.estimate(**SHAP),
        client.estimate("explain/shap", SHAP),
        await async_keyed.estimate(**SHAP),
        await async_client.estimate("/explain/shap/", SHAP),
    ]
    assert [(r.method, r.url.path, r.content) for r in script.requests] == [
        ("POST", "/estimate/explain/shap", script.requests[0].content)
    ] * 4
    assert "mine" not in [r.headers["idempotency-key"] for r in script.requests], "the key is the call's own"
    assert found == [Estimate.model_validate(ESTIMATE)] * 4
    with pytest.raises(InvalidRequest, match="bugdet"):
        client.estimate("explain/shap", {**SHAP, "bugdet": 4})
