"""A known answer whose blob is lost is computed again."""

from datetime import UTC, datetime

import pytest

from explaind.contract.job import JobState
from explaind_jobs.store.records import Outcome, WorkerState
from explaind_service.settings import ServiceSettings
from tests.support.apps import create_app

LARGE = b'{"values":[' + b",".join(str(n * 7919 % 100_003).encode() for n in range(3000)) + b"]}"


@pytest.fixture
def settings(redis_url, data_dir):
    return ServiceSettings(redis_url=redis_url, inline_result_bytes=100)


@pytest.fixture
def app(settings):
    return create_app(settings)


async def test_a_lost_answer_is_computed_again(client, worker, shap, settings, expect_problem):
    worker.store.heartbeat(WorkerState("w", "1", ["default"], [], [], 1, datetime.now(UTC), {"demo": "r"}), [])
    first = (await client.post("/explain/shap", json=shap)).json()["id"]
    claim = worker.claim()
    assert worker.store.finish(claim.id, claim.attempt, Outcome(JobState.SUCCEEDED, LARGE, revision="r")) == "finished"
    again = await client.post("/explain/shap", json=shap)
    assert again.json()["cached"]
    assert (await client.get(again.json()["links"]["result"])).content == LARGE
    for blob in (settings.data_dir / "results").rglob("*.zst"):
        blob.unlink()
    expect_problem(await client.get(f"/jobs/{first}/result"), 500, "result_lost")
    assert (await client.post("/explain/shap", json=shap)).status_code == 202
