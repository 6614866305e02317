from datetime import UTC, datetime

import pytest

from explaind.contract.catalogue import MethodList, ModelList
from explaind.contract.registry import all_methods
from explaind_jobs.store.records import WorkerState
from explaind_service.settings import ServiceSettings
from tests.support.apps import create_app


def worker_with(models: list[str], loading: list[str]) -> WorkerState:
    return WorkerState(
        name="w@test",
        instance="1",
        queues=["default"],
        models=models,
        loading=loading,
        slots=1,
        started_at=datetime.now(UTC),
    )


async def test_methods(client) -> None:
    answer = (await client.get("/methods")).content
    methods = MethodList.model_validate_json(answer).data
    assert [card.path for card in methods] == [f"/{path}" for path in all_methods()]
    assert len(answer) < 40_000
    assert b"$defs" not in answer
    shap = (await client.get(methods[0].links.self.replace(methods[0].path, "/explain/shap"))).json()
    assert shap == all_methods()["explain/shap"].detail().model_dump(mode="json")
    assert shap["params"]["properties"]["max_budget"]["maximum"] == 100_000


async def test_the_catalogue_is_listed_in_pages(client, expect_problem) -> None:
    paths, after = [], {}
    while True:
        page = (await client.get("/methods", params={"limit": 10, **after})).json()
        paths += [card["path"] for card in page["data"]]
        if not page["has_more"]:
            break
        assert len(page["data"]) == 10
        after = {"after": paths[-1]}
    assert paths == [f"/{path}" for path in all_methods()]
    following = (await client.get("/methods", params={"after": "explain/shap", "limit": 1})).json()["data"]
    assert following[0]["path"] == paths[paths.index("/explain/shap") + 1]
    assert (await client.get("/models", params={"after": "demo"})).json() == {"data": [], "has_more": False}
    for path, query in (("/methods", {"after": "/explain/shpa"}), ("/models", {"after": "dmeo"})):
        problem = expect_problem(await client.get(path, params=query), 422, "invalid_request", "/query/after")
        assert "Did you mean" in problem["hint"]
    for name, value in (("limit", "0"), ("limit", "101"), ("limits", "1")):
        answer = await client.get("/methods", params={name: value})
        expect_problem(answer, 422, "invalid_request", f"/query/{name}")


async def test_unknown_method(client, expect_problem) -> None:
    problem = expect_problem(await client.get("/methods/explain/shpa"), 404, "unknown_method")
    assert "'explain/shap'" in problem["hint"]


@pytest.mark.parametrize(
    ("models", "loading", "state"),
    [(["demo"], [], "ready"), ([], ["demo"], "loading"), (["other"], [], "cold")],
)
async def test_model_state_is_that_of_live_workers(client, worker, models, loading, state: str) -> None:
    assert (await client.get("/models/demo")).json()["state"] == "cold"
    worker.store.heartbeat(worker_with(models, loading), [])
    assert (await client.get("/models/demo")).json()["state"] == state
    listed = ModelList.model_validate_json((await client.get("/models")).content).data
    assert [(card.name, card.state) for card in listed] == [("demo", state)]
    assert listed[0].limits.max_target_tokens == 64


async def test_unknown_model(client, expect_problem) -> None:
    problem = expect_problem(await client.get("/models/dmeo"), 404, "not_found")
    assert problem["hint"] == "Did you mean 'demo'?"


async def test_no_path_of_this_machine_is_told(redis_url, client_of, tmp_path) -> None:
    (tmp_path / "weights").mkdir()
    models = tmp_path / "models.toml"
    models.write_text('[models.tiny]\npath = "weights"\n')
    async with client_of(create_app(ServiceSettings(redis_url=redis_url, models_file=models))) as client:
        response = await client.get("/models")
    assert [card["name"] for card in response.json()["data"]] == ["demo", "tiny"]
    assert str(tmp_path) not in response.text
