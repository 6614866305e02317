"""Requests made up from the OpenAPI document: every answer is one that the document names.

Each field that methods share is varied in one method's request; `make test-all` varies it in all of them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.errors import InvalidUnits
from explaind.contract.registry import all_methods
from explaind_service.app import create_app
from explaind_service.settings import ServiceSettings
from tests.support import LONG
from tests.support.schema_cases import EXPECTED_FAULTS, Fuzzer
from tests.support.schema_document import documented, documented_once, submissions

OPERATIONS = documented(keys=False)
VARIED = documented_once()
OF_A_JOB = [operation for operation in OPERATIONS if "{job_id}" in operation.path]
SUBMISSIONS = submissions(OPERATIONS)
VARIED_SUBMISSIONS = submissions(VARIED)
EXAMPLES, OF_A_SUBMISSION = (24, 24) if LONG else (16, 6)
# One method of each family: the bounds of all others are tried on a whole service, by the load tests.
OF_ITS_FAMILY = {f"/explain/{name}" for name in ("shap", "integrated-gradients", "logit-lens", "head-ablation")} | {
    "/explain/compare-methods",
    "/infer/generate",
    "/train/tuned-lens",
}
BOUNDED = [op for op in VARIED if LONG or op not in VARIED_SUBMISSIONS or op.path in OF_ITS_FAMILY]


def each(operations: list[Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("operation", operations, ids=lambda operation: operation.label)


@pytest.fixture(scope="module")
def serving_http(valkey_socket: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One application for the module; what it keeps is in Valkey and on disk."""
    data_dir = tmp_path_factory.mktemp("data")
    url = f"unix://{valkey_socket}?db=0"
    app = create_app(ServiceSettings(redis_url=url, data_dir=data_dir, max_wait_s=0, max_stream_s=0.02))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def http(serving_http: TestClient, redis_url: str) -> TestClient:
    """The application without jobs, files and keys."""
    return serving_http


@pytest.fixture
def fuzzer(http: TestClient) -> Fuzzer:
    return Fuzzer(lambda asked: http.request(**asked))


@each(VARIED)
def test_made_up_requests(fuzzer: Fuzzer, operation: Any) -> None:
    fuzzer.run(operation, examples=OF_A_SUBMISSION if operation in VARIED_SUBMISSIONS else EXAMPLES)


@each(BOUNDED)
def test_every_bound_and_what_is_beyond_it(fuzzer: Fuzzer, operation: Any) -> None:
    fuzzer.cover(operation)
    seen = fuzzer.seen[operation.label]
    assert ({200, 201, 202, 404} | EXPECTED_FAULTS.get(operation.label, set())) & seen.keys()
    if operation in VARIED_SUBMISSIONS:
        assert seen[202] > 1
        assert seen[422] > (100 if LONG else 20)


@each(SUBMISSIONS)
def test_a_field_too_many(fuzzer: Fuzzer, operation: Any) -> None:
    """The bounds do not reach it: what is made up from them is closed by `unevaluatedProperties` unseen."""
    body = {**all_methods()[operation.path.strip("/")].example, "no_such_field": 1}
    refused = fuzzer.one(operation.Case(body=body, media_type="application/json"))
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/no_such_field")


def bring(http: TestClient, worker, shap: dict[str, Any], state: str) -> str:
    """The path of a job in that state."""
    path = http.post("/explain/shap", json=shap, headers={"Cache-Control": "no-cache"}).headers["location"]
    match state:
        case "running":
            worker.claim()
        case "cancelling":
            worker.claim()
            http.post(f"{path}/cancel")
        case "cancelled":
            http.post(f"{path}/cancel")
        case "succeeded":
            worker.succeed()
        case "failed":
            worker.fail(InvalidUnits("The units cannot be told apart."))
    assert http.get(path).json()["state"] == state
    return path


STATES = {
    "queued": {"GET": {200}, "DELETE": {409}, "cancel": {200}, "result": {409}, "report": {409}},
    "running": {"GET": {200}, "DELETE": {409}, "cancel": {200}, "result": {409}, "report": {409}},
    "cancelling": {"GET": {200}, "DELETE": {409}, "cancel": {200}, "result": {409}, "report": {409}},
    "cancelled": {"GET": {200}, "DELETE": {204, 404}, "cancel": {200}, "result": {409}, "report": {200}},
    "succeeded": {"GET": {200}, "DELETE": {204, 404}, "cancel": {200}, "result": {200}, "report": {200}},
    "failed": {"GET": {200}, "DELETE": {204, 404}, "cancel": {200}, "result": {422}, "report": {200}},
}


@pytest.mark.parametrize("state", STATES)
@each(OF_A_JOB)
def test_jobs_that_are_there(fuzzer: Fuzzer, http, worker, shap, operation: Any, state: str) -> None:
    last = operation.path.rpartition("/")[2]
    expected = STATES[state].get(operation.method.upper() if "{" in last else last)
    path = bring(http, worker, shap, state)
    fuzzer.run(operation, examples=24 if LONG else 8, path_parameters={"job_id": path.rpartition("/")[2]})
    seen = fuzzer.seen[operation.label].keys()
    assert expected is None or expected & seen, seen
    assert expected is None or seen <= {*expected, 422}


@each(SUBMISSIONS)
def test_from_the_first_request_to_the_last(fuzzer: Fuzzer, worker, attribution, operation: Any) -> None:
    """Submit, look, ask too early, finish, get, report, list, delete; every answer is held against the document."""
    by_label = {each.label: each for each in OPERATIONS}

    def ask(label: str, **parts: Any) -> Any:
        return fuzzer.one(by_label[label].Case(**parts))

    example = all_methods()[operation.path.strip("/")].example
    key = {"Idempotency-Key": "once", "Prefer": "wait=30"}
    accepted = ask(operation.label, body=example, headers=key, media_type="application/json")
    assert accepted.status_code == 202
    job = {"job_id": accepted.json()["id"]}
    assert ask("GET /jobs/{job_id}", path_parameters=job).json()["state"] == "queued"
    assert ask("GET /jobs/{job_id}/result", path_parameters=job).status_code == 409
    assert ask("DELETE /jobs/{job_id}", path_parameters=job).status_code == 409
    worker.succeed()
    if (
        all_methods()[operation.path.strip("/")].result is Attribution
    ):  # what the stand-in answers is the result of an attribution
        again = ask(operation.label, body=example, headers=key, media_type="application/json")
        assert (again.status_code, again.json()["result"]) == (200, attribution)
    assert ask("GET /jobs/{job_id}", path_parameters=job).json()["state"] == "succeeded"
    assert ask("GET /jobs/{job_id}/result", path_parameters=job).json() == attribution
    page = ask("GET /jobs/{job_id}/result", path_parameters=job, query={"path": "/values"})
    assert page.json()["data"] == attribution["values"]
    assert ask("GET /jobs/{job_id}/report", path_parameters=job).status_code == 200
    assert ask("POST /jobs/{job_id}/cancel", path_parameters=job).json()["state"] == "succeeded"
    assert [found["id"] for found in ask("GET /jobs", query={"limit": 1}).json()["data"]] == [job["job_id"]]
    assert ask("DELETE /jobs/{job_id}", path_parameters=job).status_code == 204
    for label in ("GET /jobs/{job_id}", "GET /jobs/{job_id}/result", "POST /jobs/{job_id}/cancel"):
        assert ask(label, path_parameters=job).status_code == 404
