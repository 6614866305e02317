"""The jobs: looked at, listed, cancelled, deleted; results and reports."""

import asyncio
from typing import Any

import orjson
import pytest

from explaind.contract.errors import OutOfMemory, WorkerLost
from explaind.contract.job import Job, JobCard, JobPage, Progress
from tests.support.apps import create_app

UNKNOWN = "job_" + "0" * 26


async def submit(client, shap, **changes: Any) -> str:
    response = await client.post("/explain/shap", json={**shap, **changes})
    assert response.status_code == 202
    return response.json()["id"]


async def test_get_follows_the_job(client, worker, shap, attribution) -> None:
    first, second = await submit(client, shap), await submit(client, shap)
    assert (await client.get(f"/jobs/{second}")).json()["queue_position"] == 1
    claim = worker.claim()
    worker.store.progress(claim.id, claim.attempt, Progress(phase="evaluating", done=3, total=8, unit="coalitions"))
    running = (await client.get(f"/jobs/{first}")).json()
    assert (running["state"], running["queue_position"], running["progress"]["done"]) == ("running", None, 3)
    worker.succeed()
    response = await client.get(f"/jobs/{second}")
    ended = Job[Any].model_validate_json(response.content)
    assert ended.state == "succeeded"
    assert ended.result == attribution
    assert ended.timing is not None
    assert ended.expires_at is not None


async def test_get_waits_for_the_end(client, worker, shap, attribution) -> None:
    job_id = await submit(client, shap)
    waiting = asyncio.create_task(client.get(f"/jobs/{job_id}", params={"wait": 30}))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await asyncio.to_thread(worker.succeed)
    response = await waiting
    assert response.headers["preference-applied"] == "wait=30"
    assert (response.json()["state"], response.json()["result"]) == ("succeeded", attribution)


async def test_get_waits_no_longer_than_it_is_told(client, shap) -> None:
    job_id = await submit(client, shap)
    response = await client.get(f"/jobs/{job_id}", params={"wait": 0})
    assert (response.json()["state"], response.headers["preference-applied"]) == ("queued", "wait=0")
    assert "preference-applied" not in (await client.get(f"/jobs/{job_id}")).headers


async def test_get_waits_no_longer_than_the_service_lets(settings, client_of, shap) -> None:
    settings.max_wait_s = 0
    async with client_of(create_app(settings)) as client:
        response = await client.get(f"/jobs/{await submit(client, shap)}", params={"wait": 1000})
        assert (response.json()["state"], response.headers["preference-applied"]) == ("queued", "wait=0")


@pytest.mark.parametrize("wait", ["-1", "soon", "1.5"])
async def test_waits_that_are_none(client, shap, expect_problem, wait: str) -> None:
    job_id = await submit(client, shap)
    expect_problem(await client.get(f"/jobs/{job_id}", params={"wait": wait}), 422, "invalid_request", "/query/wait")


async def test_result_is_spliced_in_untouched(client, worker, shap) -> None:
    job_id = await submit(client, shap)
    claim = worker.claim()
    # Spaces and a number of many digits would not survive being parsed and written again.
    raw = b'{"kind":  "attribution", "values": [0.10000000000000000555]}'
    worker.end(claim, raw)
    assert raw in (await client.get(f"/jobs/{job_id}")).content
    result = await client.get(f"/jobs/{job_id}/result")
    assert result.content == raw
    assert result.headers["content-type"] == "application/json"


async def test_failed_job_carries_its_problem(client, worker, shap, expect_problem) -> None:
    job_id = await submit(client, shap)
    worker.fail(OutOfMemory("It does not fit.", hint="Use a shorter prompt."))
    job = (await client.get(f"/jobs/{job_id}")).json()
    assert (job["state"], job["error"]["code"], job["result"]) == ("failed", "out_of_memory", None)
    response = await client.get(f"/jobs/{job_id}/result")
    problem = expect_problem(response, 503, "out_of_memory")
    assert problem["hint"] == "Use a shorter prompt."
    # Asking for the result again changes nothing.
    assert "retry-after" not in response.headers


async def test_result_of_a_lost_job(client, worker, shap, expect_problem) -> None:
    job_id = await submit(client, shap)
    worker.fail(WorkerLost("The worker died."))
    expect_problem(await client.get(f"/jobs/{job_id}/result"), 500, "worker_lost")


@pytest.mark.parametrize("part", ["result", "report"])
async def test_unfinished(client, worker, shap, expect_problem, part: str) -> None:
    job_id = await submit(client, shap)
    response = await client.get(f"/jobs/{job_id}/{part}")
    problem = expect_problem(response, 409, "job_not_finished")
    assert problem["retryable"] is True
    assert response.headers["retry-after"] == "1"
    worker.claim()
    expect_problem(await client.get(f"/jobs/{job_id}/{part}"), 409, "job_not_finished")


async def test_cancel_is_idempotent(client, shap, expect_problem) -> None:
    job_id = await submit(client, shap)
    for _ in range(2):
        response = await client.post(f"/jobs/{job_id}/cancel")
        assert response.status_code == 200
        assert response.json()["state"] == "cancelled"
    expect_problem(await client.get(f"/jobs/{job_id}/result"), 409, "job_cancelled")


async def test_cancel_of_a_running_job_asks_it_to_stop(client, worker, shap) -> None:
    job_id = await submit(client, shap)
    worker.claim()
    assert (await client.post(f"/jobs/{job_id}/cancel")).json()["state"] == "cancelling"


async def test_cancel_leaves_an_ended_job(client, worker, shap) -> None:
    job_id = await submit(client, shap)
    worker.succeed()
    assert (await client.post(f"/jobs/{job_id}/cancel")).json()["state"] == "succeeded"


async def test_delete(client, worker, shap, expect_problem) -> None:
    job_id = await submit(client, shap)
    problem = expect_problem(await client.delete(f"/jobs/{job_id}"), 409, "job_active")
    assert "ancel" in problem["hint"]
    worker.succeed()
    response = await client.delete(f"/jobs/{job_id}")
    assert (response.status_code, response.content) == (204, b"")
    for path in ("", "/result", "/report"):
        expect_problem(await client.get(f"/jobs/{job_id}{path}"), 404, "job_not_found")
    expect_problem(await client.delete(f"/jobs/{job_id}"), 404, "job_not_found")
    expect_problem(await client.post(f"/jobs/{job_id}/cancel"), 404, "job_not_found")


HOSTILE_IDS = (
    f"job_1 x job_{'w' * 26} {UNKNOWN.upper()} {UNKNOWN}%0A {UNKNOWN}0 job_%00{'0' * 25} ..%2e %F0%9F%92%A5 "
    f"job_* %ED%A0%80 %FF {'x' * 5000}"
).split()


@pytest.mark.parametrize("job_id", HOSTILE_IDS, ids=lambda job_id: job_id[:40])
@pytest.mark.parametrize("part", ["", "/result", "/report"])
async def test_ids_that_are_none(client, expect_problem, job_id: str, part: str) -> None:
    response = await client.get(f"/jobs/{job_id}{part}")
    expect_problem(response, 404, "job_not_found")
    assert len(response.content) < 1500


async def test_list_pages_newest_first(client, shap) -> None:
    ids = [await submit(client, shap) for _ in range(5)]
    first = JobPage.model_validate_json((await client.get("/jobs", params={"limit": 2})).content)
    assert [job.id for job in first.data] == [ids[4], ids[3]]
    assert first.has_more
    rest = await client.get("/jobs", params={"after": ids[3]})
    assert [job["id"] for job in rest.json()["data"]] == [ids[2], ids[1], ids[0]]
    assert rest.json()["has_more"] is False


async def test_list_filters(client, worker, shap) -> None:
    done, waiting = await submit(client, shap), await submit(client, shap)
    worker.succeed()
    tokenize = await client.post("/infer/tokenize", json={"model": "demo", "prompt": "a b"})

    async def listed(**filters: str) -> list[str]:
        return [job["id"] for job in (await client.get("/jobs", params=filters)).json()["data"]]

    assert await listed(state="succeeded") == [done]
    assert await listed(state="queued", method="explain/shap") == [waiting]
    assert await listed(method="infer/tokenize") == [tokenize.json()["id"]]
    assert await listed(model="other") == []
    assert len(await listed(model="demo")) == 3


async def test_list_is_without_results(client, worker, shap) -> None:
    await submit(client, shap)
    worker.succeed()
    page = (await client.get("/jobs")).json()
    (card,) = page["data"]
    assert set(card) == set(JobCard.model_fields)
    assert not {"result", "provenance", "timing", "params"} & set(card)


async def test_estimates_are_listed_where_they_are_wanted(client, worker, shap) -> None:
    first = await submit(client, shap)
    accepted = await client.post("/estimate/explain/shap", json=shap, headers={"Prefer": "respond-async"})
    estimate = accepted.json()["id"]
    last = await submit(client, shap)

    async def listed(**query: str | int) -> tuple[list[str], bool]:
        page = (await client.get("/jobs", params=query)).json()
        return [card["id"] for card in page["data"]], page["has_more"]

    assert await listed() == ([last, first], False)
    assert await listed(limit=1) == ([last], True)
    assert await listed(limit=1, after=last) == ([first], False)
    assert await listed(estimates="true") == ([last, estimate, first], False)
    assert await listed(method="estimate/explain/shap") == ([estimate], False)


async def test_a_failed_job_is_listed_with_the_code_of_its_error(client, worker, shap) -> None:
    await submit(client, shap)
    worker.fail(OutOfMemory("Full."))
    (card,) = (await client.get("/jobs")).json()["data"]
    assert (card["state"], card["error_code"]) == ("failed", "out_of_memory")


async def test_empty_list(client) -> None:
    assert (await client.get("/jobs")).json() == {"data": [], "has_more": False}


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"limit": "0"}, "/query/limit"),
        ({"limit": "101"}, "/query/limit"),
        ({"limit": "ten"}, "/query/limit"),
        ({"state": "done"}, "/query/state"),
        ({"after": "job_*"}, "/query/after"),
        ({"status": "failed"}, "/query/status"),
        ({"method": "x" * 101}, "/query/method"),
    ],
)
async def test_list_parameters_that_are_none(client, expect_problem, query, pointer: str) -> None:
    expect_problem(await client.get("/jobs", params=query), 422, "invalid_request", pointer)


async def test_report(client, worker, shap) -> None:
    job_id = await submit(client, shap)
    worker.succeed()
    response = await client.get(f"/jobs/{job_id}/report")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert job_id in response.text


async def test_report_of_a_failed_job(client, worker, shap) -> None:
    job_id = await submit(client, shap)
    worker.fail(OutOfMemory("It does not fit."))
    response = await client.get(f"/jobs/{job_id}/report")
    assert response.status_code == 200
    assert "text/html" in response.headers["content-type"]


async def test_metadata_stays_the_callers(client, shap) -> None:
    metadata = {"<b>": "é\u2028\u0000", "run": "7"}
    job_id = await submit(client, shap, metadata=metadata)
    assert orjson.loads((await client.get(f"/jobs/{job_id}")).content)["metadata"] == metadata
