"""Requests made up from the OpenAPI document: whatever comes, the answer is one that the document tells of."""

from collections.abc import Iterator
from typing import Any

import pytest
from schema_cases import EXPECTED_FAULTS, Fuzzer, documented
from starlette.testclient import TestClient

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.errors import InvalidUnits
from explaind.contract.registry import all_methods
from explaind_service.app import create_app

OPERATIONS = documented(keys=False)
OF_A_JOB = [operation for operation in OPERATIONS if "{job_id}" in operation.path]
SUBMISSIONS = [operation for operation in OPERATIONS if operation.path.strip("/") in all_methods()]


def each(operations: list[Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("operation", operations, ids=lambda operation: operation.label)


@pytest.fixture
def http(settings) -> Iterator[TestClient]:
    app = create_app(settings.model_copy(update={"max_wait_s": 0, "max_stream_s": 0.02}))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def fuzzer(http: TestClient) -> Fuzzer:
    return Fuzzer(lambda asked: http.request(**asked))


@each(OPERATIONS)
def test_made_up_requests(fuzzer: Fuzzer, operation: Any) -> None:
    fuzzer.run(operation, examples=24)


@each(OPERATIONS)
def test_every_bound_and_what_is_beyond_it(fuzzer: Fuzzer, operation: Any) -> None:
    fuzzer.cover(operation)
    assert ({200, 201, 202, 404} | EXPECTED_FAULTS.get(operation.label, set())) & fuzzer.seen[operation.label].keys()
    if operation in SUBMISSIONS:
        assert fuzzer.seen[operation.label][202] > 1
        assert fuzzer.seen[operation.label][422] > 100


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
    fuzzer.run(operation, examples=24, path_parameters={"job_id": path.rpartition("/")[2]})
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
