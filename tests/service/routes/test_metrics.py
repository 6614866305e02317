"""GET /metrics."""

from datetime import UTC, datetime

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from explaind.contract.errors import StoreUnavailable, WorkerLost
from explaind_jobs.store.records import WorkerState
from explaind_service.metrics import names

GAUGES = {metric.key: float(number) for number, metric in enumerate(names.WORKER_GAUGES)}


def samples(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


async def test_a_jobs_life_is_counted(client, worker, shap) -> None:
    await client.post("/explain/shap", json=shap, headers={"Cache-Control": "no-cache"})
    await client.post("/explain/shap", json={**shap, "seed": 7}, headers={"Cache-Control": "no-cache"})
    worker.fail(WorkerLost("It broke."))
    found = samples((await client.get("/metrics")).text)
    demo = {"method": "explain/shap", "model": "demo"}
    assert found["explaind_store_up"] == [({}, 1)]
    assert found["explaind_jobs_submitted_total"] == [(demo, 2)]
    assert found["explaind_jobs_finished_total"] == [({**demo, "state": "failed"}, 1)]
    assert found["explaind_queue_depth"] == [({"queue": "default", "model": "demo"}, 1)]
    assert found["explaind_job_seconds_count"] == [({"method": "explain/shap"}, 1)]
    assert found["explaind_queued_seconds_count"] == [({"method": "explain/shap"}, 1)]
    assert 0 <= found["explaind_queue_oldest_seconds"][0][1] < 60


async def test_requests_are_counted_by_template(client) -> None:
    for path in ("/jobs/job_" + "0" * 26, "/jobs/job_" + "1" * 26, "/secret-word", "/?query=secret-word"):
        await client.get(path)
    await client.request("BREW", "/")
    text = (await client.get("/metrics")).text
    found = samples(text)
    requests = {tuple(labels.values()): value for labels, value in found["explaind_http_requests_total"]}
    assert requests["GET", "/jobs/{job_id}", "404"] == 2
    assert requests["GET", "none", "404"] == 1
    assert requests["OTHER", "/", "405"] == 1
    assert "secret-word" not in text
    assert found["explaind_http_requests_in_flight"] == [({}, 1)]  # this one
    seconds = [value for labels, value in found["explaind_http_request_seconds_count"] if labels["route"] == "/"]
    assert sum(seconds) == 2


async def test_everything_in_the_table_is_told_and_nothing_else(client, worker, shap) -> None:
    await client.post("/explain/shap", json=shap)
    worker.succeed()
    worker.store.heartbeat(WorkerState("w@test", "1", ["default"], ["demo"], [], 1, datetime.now(UTC), {}, GAUGES), [])
    text = (await client.get("/metrics")).text
    told = {family.name: family for family in text_string_to_metric_families(text)}
    kinds = {name: family.type for name, family in told.items() if name.startswith("explaind_")}
    assert kinds == {m.name.removesuffix("_total") if m.kind == "counter" else m.name: m.kind for m in names.ALL}
    for metric in names.ALL:
        for sample in told[metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name].samples:
            assert sample.name in metric.samples
            assert set(sample.labels) - {"le"} == set(metric.labels)
    assert "process_resident_memory_bytes" in told


async def test_two_applications_share_nothing(client, settings, client_of) -> None:
    from tests.support.apps import create_app

    await client.get("/healthz")
    async with client_of(create_app(settings)) as other:
        assert 'route="/healthz"' not in (await other.get("/metrics")).text


async def test_a_store_that_went_away_is_told_of(client, app, expect_problem, monkeypatch: pytest.MonkeyPatch) -> None:
    assert samples((await client.get("/metrics")).text)["explaind_store_up"] == [({}, 1)]

    async def silent(*_: object, **__: object) -> None:
        raise StoreUnavailable("The job store does not answer.")

    monkeypatch.setattr(app.state.resources.store, "run", silent)
    monkeypatch.setattr("explaind_service.auth.key_verifier.REMEMBERED_S", 0.0)
    expect_problem(await client.get("/jobs"), 503, "store_unavailable")
    response = await client.get("/metrics")
    assert response.status_code == 200
    found = samples(response.text)
    assert found["explaind_store_up"] == [({}, 0)]
    assert "explaind_http_requests_total" in found
    assert "explaind_jobs_running" not in found


async def test_a_store_that_never_answered_lets_nobody_see(client_without_store, expect_problem) -> None:
    expect_problem(await client_without_store.get("/metrics"), 503, "store_unavailable")


async def test_open_metrics_on_request(client, worker, shap) -> None:
    await client.post("/explain/shap", json=shap)
    worker.succeed()
    response = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert {family.name for family in open_metrics(response.text)} >= {"explaind_jobs_finished", "explaind_job_seconds"}


async def test_prometheus_text_by_default(client) -> None:
    response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
