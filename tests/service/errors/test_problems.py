"""Every way a request can be wrong ends in a problem that says what, where and what to do."""

import json
from typing import Any

import pytest
from starlette.requests import Request

from explaind.contract.errors import ExplaindError, JobNotFinished, StoreUnavailable, TooManyStreams
from explaind_service.errors.problems import problem_response
from explaind_service.settings import ServiceSettings
from tests.support.apps import create_app

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("changes", "pointers"),
    [
        ({"prompt": ""}, ["/prompt"]),
        ({"prompt": 7}, ["/prompt"]),
        ({"prompt": None}, ["/prompt"]),
        ({"prompt": "x" * 200_001}, ["/prompt"]),
        ({"messages": [{"role": "user", "content": "a"}]}, ["/prompt"]),
        ({"model": "../etc"}, ["/model"]),
        ({"model": None}, ["/model"]),
        ({"target": ""}, ["/target"]),
        ({"target": {}}, ["/target"]),
        ({"target": {"txt": "a"}}, ["/target"]),
        ({"target": {"text": "a", "id": 1}}, ["/target/id"]),
        ({"target": {"token_ids": []}}, ["/target/token_ids"]),
        ({"target": {"token_ids": [1, -1]}}, ["/target/token_ids/1"]),
        ({"target": {"token_ids": [2**31]}}, ["/target/token_ids/0"]),
        ({"target": {"labels": ["a", "b"], "explain": "c"}, "foil": None}, ["/target/explain"]),
        ({"target": {"labels": ["a", "b"], "explain": "a"}}, ["/foil"]),
        ({"units": "paragraph"}, ["/units"]),
        ({"units": {"segments": [[0, 3], [2, 4]]}}, ["/units/segments/1"]),
        ({"units": {"segments": [[0, 3], [4, 4]]}}, ["/units/segments/1"]),
        ({"units": {"segments": [[0, 3_000]]}}, ["/units/segments/0"]),
        ({"baseline": {"text": ""}}, ["/baseline/text"]),
        ({"score": "bits"}, ["/score"]),
        ({"budget": 3}, ["/budget"]),
        ({"budget": 100_001}, ["/budget"]),
        ({"budget": 4.5}, ["/budget"]),
        ({"seed": -1}, ["/seed"]),
        ({"algorithm": "magic", "budget": []}, ["/algorithm", "/budget"]),
        ({"metadata": {"a": 1}}, ["/metadata/a"]),
        ({"metadata": {str(i): "" for i in range(17)}}, ["/metadata"]),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
async def test_fields_at_fault(client, expect_problem, shap, changes, pointers: list[str]) -> None:
    response = await client.post("/explain/shap", json={**shap, **changes})
    problem = expect_problem(response, 422, "invalid_request", *pointers)
    assert "GET /methods/explain/shap" in problem["hint"]
    assert problem["instance"] == "/explain/shap"
    assert (await client.get("/jobs")).json()["data"] == []


@pytest.mark.parametrize(
    ("field", "near"), [("promt", "'prompt'"), ("Prompt", "'prompt'"), ("bugdet", "'budget'"), ("zzz", None)]
)
async def test_unknown_field(client, expect_problem, shap, field: str, near: str | None) -> None:
    response = await client.post("/explain/shap", json={**shap, field: 1})
    detail = expect_problem(response, 422, "invalid_request", f"/{field}")["errors"][0]["detail"]
    assert detail == "There is no such field." + (f" Did you mean {near}?" if near else "")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
async def test_numbers_that_are_none(client, expect_problem, number: str) -> None:
    body = f'{{"model": "demo", "prompt": "a", "temperature": {number}}}'
    response = await client.post("/infer/generate", content=body, headers=JSON)
    expect_problem(response, 422, "invalid_request", "/temperature")


async def test_many_faults_are_cut_short(client, expect_problem, shap) -> None:
    response = await client.post("/explain/shap", json={**shap, **{f"x{i}": 1 for i in range(200)}})
    problem = expect_problem(response, 422, "invalid_request", *(f"/x{i}" for i in range(32)))
    assert problem["detail"] == "200 fields are not valid; the first 32 are listed."


@pytest.mark.parametrize("body", ["[]", '"text"', "7", "true", "null", "[[1]]"])
async def test_json_that_is_no_object(client, expect_problem, body: str) -> None:
    response = await client.post("/explain/shap", content=body, headers=JSON)
    problem = expect_problem(response, 422, "invalid_request", "")
    assert problem["detail"] == "This must be a JSON object."


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "The body is empty"),
        (b"{", "line 1, column 2"),
        (b'{"model": "demo",\n "prompt": "a",}', "line 2, column 1"),
        (b"{'model': 'demo'}", "line 1, column 2"),
        (b'{"a": "\x00"}', "line 1, column 8"),
        (b'{"model": "\xff\xfe"}', "not UTF-8: byte 11"),
        (b'{"a": ' + b"9" * 5000 + b"}", "too many digits"),
        (b'{"a": ' + b"[" * 200_000, "nested too deeply"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_broken_bodies(client, expect_problem, body: bytes, says: str) -> None:
    response = await client.post("/explain/shap", content=body, headers=JSON)
    problem = expect_problem(response, 400, "malformed_body")
    assert says in problem["detail"]
    assert problem["hint"]


@pytest.mark.parametrize(
    "body",
    [
        r'{"model": "demo", "prompt": "\ud800"}',
        r'{"model": "demo", "prompt": "a", "\udfff": 1}',
        r'{"model": "demo", "prompt": "a", "metadata": {"\ud800": "x"}}',
        r'{"model": "demo", "prompt": "a", "target": {"\ud800": 1}}',
    ],
)
async def test_lone_surrogates(client, expect_problem, body: str) -> None:
    response = await client.post("/explain/shap", content=body, headers=JSON)
    assert response.status_code == 422
    assert response.json()["code"] == "invalid_request"


@pytest.mark.parametrize(
    "text",
    [
        "\u0000",
        "a\u2028b",
        "👩‍👩‍👧‍👦 é",
        "\ufeff",
        "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    ],
)
async def test_odd_text_is_text(client, worker, shap, text: str) -> None:
    response = await client.post("/explain/shap", json={**shap, "prompt": text})
    assert response.status_code == 202
    assert json.loads(worker.claim().request)["prompt"] == text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": ""},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/jsonp"},
        {"Content-Type": "multipart/form-data; boundary=application/json"},
    ],
)
async def test_bodies_of_another_type(client, expect_problem, shap, headers) -> None:
    response = await client.post("/explain/shap", content=json.dumps(shap), headers=headers)
    problem = expect_problem(response, 415, "unsupported_media")
    assert "application/json" in problem["hint"]


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", "application/x+json"])
async def test_ways_to_say_json(client, shap, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    response = await client.post("/explain/shap", content=json.dumps(shap), headers=headers)
    assert response.status_code == 202


async def _chunks(body: bytes):
    for start in range(0, len(body), 500):
        yield body[start : start + 500]


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("path", ["/explain/shap", "/explain/shpa", "/jobs"])
async def test_body_too_large(redis_url, client_of, expect_problem, announced: bool, path: str) -> None:
    body = json.dumps({"model": "demo", "prompt": "x" * 2000}).encode()
    app = create_app(ServiceSettings(redis_url=redis_url, max_body_bytes=1024))
    async with client_of(app) as client:
        response = await client.post(path, content=body if announced else _chunks(body), headers=JSON)
    if announced or path == "/explain/shap":
        problem = expect_problem(response, 413, "body_too_large")
        assert "1024 bytes" in problem["detail"]
    else:  # the body is not read, so nobody knows how large it is
        assert response.status_code in {404, 405}


async def test_body_at_the_limit(redis_url, client_of) -> None:
    body = json.dumps({"model": "demo", "prompt": "x" * 600}).encode().ljust(1024)
    async with client_of(create_app(ServiceSettings(redis_url=redis_url, max_body_bytes=1024))) as client:
        assert (await client.post("/infer/tokenize", content=body, headers=JSON)).status_code == 202


@pytest.mark.parametrize(
    ("request_line", "code", "hint"),
    [
        ("POST /explain/shpa", "unknown_method", "'explain/shap'"),
        ("GET /explain/shpa", "unknown_method", "'explain/shap'"),
        ("POST /expalin/shap", "unknown_method", "'explain/shap'"),
        ("POST /infer/tokenise", "unknown_method", "'infer/tokenize'"),
        ("POST /qqq/zzz", "unknown_method", "There are: "),
        ("POST /explain/shap/", "not_found", "'/explain/shap'"),
        ("GET /job", "not_found", "'/jobs'"),
        ("GET /jobs/", "not_found", "'/jobs'"),
        ("GET /JOBS", "not_found", "'/jobs'"),
        ("GET /jobs/a/b/c", "not_found", "'/jobs'"),
        ("GET /" + "x/" * 3000, "not_found", "There are: "),
        ("GET /%00", "not_found", "'/'"),
    ],
    ids=lambda value: value[:30],
)
async def test_nothing_there(client, expect_problem, request_line: str, code: str, hint: str) -> None:
    response = await client.request(*request_line.split())
    problem = expect_problem(response, 404, code)
    assert hint in problem["hint"]
    assert len(response.content) < 2000


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/explain/shap", "POST"),
        ("PUT", f"/jobs/job_{'0' * 26}", "DELETE, GET"),
        ("DELETE", "/jobs", "GET"),
        ("PATCH", "/", "GET"),
        ("BREW", "/healthz", "GET"),
        ("GET", f"/jobs/job_{'0' * 26}/cancel", "POST"),
    ],
)
async def test_method_not_allowed(client, expect_problem, method: str, path: str, allow: str) -> None:
    response = await client.request(method, path)
    problem = expect_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == allow
    assert problem["hint"] == f"Use {allow.replace(', ', ' or ')}."


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/explain/shap"),
        ("GET", "/jobs"),
        ("GET", f"/jobs/job_{'0' * 26}"),
        ("DELETE", f"/jobs/job_{'0' * 26}"),
        ("POST", f"/jobs/job_{'0' * 26}/cancel"),
        ("GET", f"/jobs/job_{'0' * 26}/result"),
        ("GET", f"/jobs/job_{'0' * 26}/report"),
        ("GET", "/methods"),
        ("GET", "/models"),
        ("GET", "/models/demo"),
    ],
)
async def test_store_is_down(client_without_store, expect_problem, shap, method: str, path: str) -> None:
    body: Any = shap if path == "/explain/shap" else None
    response = await client_without_store.request(method, path, json=body)
    problem = expect_problem(response, 503, "store_unavailable")
    assert problem["retryable"] is True
    assert int(response.headers["retry-after"]) >= 1


async def test_what_needs_no_store_works_without_one(client_without_store) -> None:
    for path in ("/", "/healthz", "/openapi.json", "/docs"):
        assert (await client_without_store.get(path)).status_code == 200


@pytest.mark.parametrize("error", [StoreUnavailable("away"), TooManyStreams("full"), JobNotFinished("running")])
def test_what_may_succeed_later_says_when_to_try_again(error: ExplaindError) -> None:
    request = Request({"type": "http", "method": "GET", "path": "/jobs", "headers": []})
    assert problem_response(error, request).headers["retry-after"] == "2"
    error.retry_after = 6.2
    assert problem_response(error, request).headers["retry-after"] == "7"
