"""POST /{verb}/{method}: accepted, waited for, repeated, refused."""

import asyncio
from typing import Any

import orjson
import pytest

from explaind.contract.errors import ModelLoadFailed
from explaind.contract.job import Job
from explaind.contract.registry import all_methods
from explaind_service.dependencies import JOB_ID
from explaind_service.settings import ServiceSettings
from tests.support.apps import create_app


@pytest.mark.parametrize("path", all_methods())
async def test_every_example_is_accepted(client, worker, path: str) -> None:
    method = all_methods()[path]
    response = await client.post(f"/{path}", json={**method.example, "metadata": {"run": "7"}})
    assert response.status_code == 202
    job = Job[Any].model_validate_json(response.content)
    assert JOB_ID.fullmatch(job.id)
    assert (job.method, job.model, job.state, job.metadata) == (path, "demo", "queued", {"run": "7"})
    assert job.queue_position == 0
    assert response.headers["location"] == f"/jobs/{job.id}" == job.links.self
    assert response.headers["retry-after"] == "1"
    assert response.headers["content-type"] == "application/json"
    assert "preference-applied" not in response.headers
    assert "idempotent-replayed" not in response.headers
    claim = worker.claim()
    assert claim.id == job.id
    stored = method.params_model.model_validate_json(claim.request)
    assert stored == method.params_model.model_validate({**method.example, "metadata": {"run": "7"}})


async def test_stored_request_is_normalised(client, worker, shap) -> None:
    await client.post("/explain/shap", json=shap)
    stored = orjson.loads(worker.claim().request)
    assert stored["target"] == {"text": " positive", "span": None, "span_text": None}
    assert stored["budget"] == 512


async def test_a_worker_is_rung(client, worker, shap) -> None:
    await client.post("/explain/shap", json=shap)
    await asyncio.to_thread(worker.wait_for_permit)


async def test_times_are_iso_with_z(client, shap) -> None:
    job = (await client.post("/explain/shap", json=shap)).json()
    assert job["created_at"].endswith("Z")
    assert job["error"] is None
    assert job["result"] is None


async def test_wait_answers_with_the_finished_job(client, worker, shap, attribution) -> None:
    request = asyncio.create_task(client.post("/explain/shap", json=shap, headers={"Prefer": "respond-async, wait=30"}))
    await asyncio.to_thread(worker.wait_for_permit)
    claim = await asyncio.to_thread(worker.succeed)
    response = await request
    assert response.status_code == 200
    assert response.headers["preference-applied"] == "respond-async, wait=30"
    assert response.headers["location"] == f"/jobs/{claim.id}"
    assert "retry-after" not in response.headers
    assert response.json()["state"] == "succeeded"
    assert response.json()["result"] == attribution


async def test_wait_ends_before_the_job(client, shap) -> None:
    response = await client.post("/explain/shap", json=shap, headers={"Prefer": "wait=0"})
    assert response.status_code == 202
    assert response.headers["preference-applied"] == "wait=0"
    assert response.headers["retry-after"] == "1"
    assert response.json()["state"] == "queued"


async def test_wait_answers_with_a_failed_job(client, worker, shap) -> None:
    request = asyncio.create_task(client.post("/explain/shap", json=shap, headers={"Prefer": "wait=30"}))
    await asyncio.to_thread(worker.wait_for_permit)
    await asyncio.to_thread(worker.fail, ModelLoadFailed("The weights are not there."))
    response = await request
    assert response.status_code == 200
    assert response.json()["state"] == "failed"
    assert response.json()["error"]["code"] == "model_load_failed"
    assert response.json()["result"] is None


async def test_wait_is_capped(redis_url, client_of, shap) -> None:
    async with client_of(create_app(ServiceSettings(redis_url=redis_url, max_wait_s=0))) as client:
        response = await client.post("/explain/shap", json=shap, headers={"Prefer": "wait=600"})
    assert response.status_code == 202
    assert response.headers["preference-applied"] == "wait=0"


async def test_same_key_same_body_is_the_same_job(client, worker, shap, attribution) -> None:
    headers = {"Idempotency-Key": "once"}
    first = await client.post("/explain/shap", json=shap, headers=headers)
    again = await client.post(
        "/explain/shap",
        content=orjson.dumps(dict(reversed(shap.items()))),
        headers={**headers, "Content-Type": "application/json"},
    )
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    assert worker.store.queued() == 1
    worker.succeed()
    ended = await client.post("/explain/shap", json=shap, headers=headers)
    assert ended.status_code == 200
    assert ended.headers["idempotent-replayed"] == "true"
    assert ended.json()["result"] == attribution


async def test_same_key_other_body(client, expect_problem, shap) -> None:
    headers = {"Idempotency-Key": "once"}
    await client.post("/explain/shap", json=shap, headers=headers)
    other = await client.post("/explain/shap", json={**shap, "seed": 1}, headers=headers)
    expect_problem(other, 422, "idempotency_key_reused")
    other_method = await client.post("/explain/feature-ablation", json=shap, headers=headers)
    expect_problem(other_method, 422, "idempotency_key_reused")


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é", "a\tb"])
async def test_keys_that_are_none(client, expect_problem, shap, key: str) -> None:
    response = await client.post("/explain/shap", json=shap, headers={"Idempotency-Key": key.encode("utf-8")})
    expect_problem(response, 422, "invalid_request", "/header/Idempotency-Key")


async def test_longest_key(client, shap) -> None:
    response = await client.post("/explain/shap", json=shap, headers={"Idempotency-Key": "~" * 255})
    assert response.status_code == 202


async def test_unknown_model(client, expect_problem, shap) -> None:
    response = await client.post("/explain/shap", json={**shap, "model": "dmeo"})
    problem = expect_problem(response, 422, "unknown_model", "/model")
    assert problem["hint"] == "Did you mean 'demo'?"
    assert problem["retryable"] is False


async def test_over_the_models_limits(client, expect_problem, worker, shap) -> None:
    response = await client.post("/explain/shap", json={**shap, "target": {"token_ids": [1] * 65}})
    problem = expect_problem(response, 422, "target_too_long", "/target/token_ids")
    assert "64" in problem["detail"]
    assert worker.store.queued() == 0


async def test_queue_full(redis_url, client_of, expect_problem, shap) -> None:
    async with client_of(create_app(ServiceSettings(redis_url=redis_url, max_queued=1))) as client:
        assert (await client.post("/explain/shap", json=shap)).status_code == 202
        response = await client.post("/explain/shap", json=shap)
    problem = expect_problem(response, 429, "queue_full")
    assert problem["retryable"] is True
    assert int(response.headers["retry-after"]) >= 1


async def test_models_of_the_file_go_to_their_queue(redis_url, client_of, worker, shap, tmp_path) -> None:
    (tmp_path / "weights").mkdir()
    models = tmp_path / "models.toml"
    models.write_text('[models.big]\npath = "weights"\nqueue = "gpu"\n')
    settings = ServiceSettings(redis_url=redis_url, models_file=models)
    async with client_of(create_app(settings)) as client:
        accepted = await client.post("/explain/shap", json={**shap, "model": "big"})
    assert accepted.status_code == 202
    assert worker.store.claim("stand-in@test", ["default"]) is None
    claim = worker.store.claim("stand-in@test", ["gpu"])
    assert claim is not None
    assert claim.model == "big"


ESTIMATE = {
    "method": "explain/shap", "forwards": 1, "tokens_evaluated": 9, "tokens_saved": 3, "model_bytes": 10,
    "peak_bytes": 5, "free_bytes": 20, "fits": True, "seconds": 0.1, "load_s": 0.0, "basis": "measured",
}  # fmt: skip


@pytest.mark.parametrize("path", all_methods())
async def test_every_method_has_an_estimate(client, worker, path: str) -> None:
    method = all_methods()[path]
    body = {**method.example, "priority": "low"}
    response = await client.post(f"/estimate/{path}", json=body, headers={"Prefer": "respond-async"})
    assert response.status_code == 202
    job = response.json()
    assert (job["method"], job["state"], job["priority"]) == (f"estimate/{path}", "queued", "high")
    assert method.params_model.model_validate_json(worker.claim().request) == method.params_model.model_validate(body)


async def test_an_estimate_is_waited_for(client, worker, shap) -> None:
    request = asyncio.create_task(client.post("/estimate/explain/shap", json=shap))
    await asyncio.to_thread(worker.wait_for_permit)
    await asyncio.to_thread(worker.succeed, ESTIMATE)
    response = await request
    assert response.status_code == 200
    assert "preference-applied" not in response.headers
    assert response.json()["result"] == ESTIMATE


async def test_an_estimate_goes_before_what_waits(client, worker, shap) -> None:
    waiting = [(await client.post("/explain/shap", json={**shap, "seed": seed})).json()["id"] for seed in (1, 2)]
    asked = await client.post("/estimate/explain/shap", json=shap, headers={"Prefer": "wait=0"})
    assert asked.status_code == 202
    assert [worker.claim().id for _ in range(3)] == [asked.json()["id"], *waiting]


async def test_an_estimate_is_made_anew(client, worker, shap) -> None:
    for _ in range(2):
        request = asyncio.create_task(client.post("/estimate/explain/shap", json=shap))
        await asyncio.to_thread(worker.wait_for_permit)
        await asyncio.to_thread(worker.succeed, ESTIMATE)
        assert (await request).json()["cached"] is False


async def test_an_estimate_is_refused_as_its_method_is(client, shap, expect_problem) -> None:
    response = await client.post("/estimate/explain/shap", json={**shap, "bugdet": 9})
    problem = expect_problem(response, 422, "invalid_request", "/bugdet")
    assert "Did you mean 'budget'?" in problem["errors"][0]["detail"]
    assert "GET /methods/explain/shap describes every field" in problem["hint"]
    for nowhere in ("explain/shpa", "expalin/shap"):
        missing = expect_problem(await client.post(f"/estimate/{nowhere}", json=shap), 404, "unknown_method")
        assert "'estimate/explain/shap'" in missing["hint"]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "application/json"),
        (b"null", "application/json"),
        (b"[1]", "application/json"),
        (b'"text"', "application/json"),
        (b'{"model": "demo",}', "application/json"),
        (b'{"model": "demo"}', "application/json"),
        (b'{"model": "demo", "prompt": "x", "target": {"labels": ["a", "a"], "explain": "a"}}', "application/json"),
        (b'{"model": "demo", "prompt": 3, "score": "x", "units": {"segments": [[1]]}}', "application/json"),
        (b'{"model": "demo", "prompt": "x"}', "text/plain"),
        (b'{"model": "nowhere", "prompt": "x"}', "application/json"),
    ],
)
async def test_an_estimate_answers_a_wrong_body_as_its_method_does(client, body: bytes, content_type: str) -> None:
    headers = {"content-type": content_type}
    own, estimate = [
        (await client.post(f"{base}/explain/shap", content=body, headers=headers)).json() for base in ("", "/estimate")
    ]
    assert own["status"] in {400, 415, 422}
    different = {"request_id", "instance"}
    assert {k: v for k, v in estimate.items() if k not in different} == {
        k: v for k, v in own.items() if k not in different
    }
