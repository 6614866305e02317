from datetime import UTC, datetime

import pytest

from explaind.contract.catalogue import Readiness
from explaind_jobs.store.records import WorkerState
from tests.support.redis_refusals import REFUSALS, refusing


async def test_alive_whatever_is_down(client_without_store) -> None:
    response = await client_without_store.get("/healthz")
    assert (response.status_code, response.json()["status"]) == (200, "ok")


async def test_ready_needs_a_worker(client, worker, shap) -> None:
    response = await client.get("/readyz")
    assert response.status_code == 503
    waiting = Readiness.model_validate_json(response.content)
    assert (waiting.store, waiting.reason) == (True, "There is no live worker.")
    state = WorkerState("w@test", "1", ["default"], [], [], 1, datetime.now(UTC))
    worker.store.heartbeat(state, [])
    await client.post("/explain/shap", json=shap)
    response = await client.get("/readyz")
    assert response.status_code == 200
    ready = Readiness.model_validate_json(response.content)
    assert (ready.ready, ready.store, ready.workers, ready.queued) == (True, True, 1, 1)


async def test_not_ready_without_a_store(client_without_store) -> None:
    response = await client_without_store.get("/readyz")
    assert response.status_code == 503
    ready = Readiness.model_validate_json(response.content)
    assert (ready.ready, ready.store, ready.queued) == (False, False, None)
    assert "does not answer" in (ready.reason or "")


@pytest.mark.parametrize("code", REFUSALS)
async def test_not_ready_while_nothing_can_be_written(client, worker, valkey, code: str) -> None:
    worker.store.heartbeat(WorkerState("w@test", "1", ["default"], [], [], 1, datetime.now(UTC)), [])
    with refusing(valkey, code):
        response = await client.get("/readyz")
        assert response.status_code == 503
        told = Readiness.model_validate_json(response.content)
        assert (told.ready, told.store) == (False, False)
        assert f"({code})" in (told.reason or "")
        assert (await client.get("/healthz")).status_code == 200
    ready = Readiness.model_validate_json((await client.get("/readyz")).content)
    assert (ready.ready, ready.store, ready.workers, ready.reason) == (True, True, 1, None)


async def test_index_leads_on(client) -> None:
    index = (await client.get("/")).json()
    assert index["name"] == "explaind"
    for link in index["links"].values():
        assert (await client.get(link)).status_code == 200
