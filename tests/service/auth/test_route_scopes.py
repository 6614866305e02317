"""Every route against every kind of caller: the table is made of the application's own routes."""

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from explaind.contract.registry import all_methods, known_method
from explaind_jobs.files.file_store import FileStore
from explaind_jobs.keys.records import Scope
from explaind_jobs.store.job_store import JobStore
from explaind_service.middleware.authentication import OPEN_PATHS
from explaind_service.settings import ServiceSettings
from tests.support.apps import create_app
from tests.support.redis_refusals import refusing

UNKNOWN = "job_" + "0" * 26
UPLOAD = ("POST", "/datasets")
SAFE = {"GET", "HEAD"}
OPERATIONS = [
    (method, context.path)
    for context in iter_route_contexts(create_app(ServiceSettings.model_construct()).routes)
    for method in sorted(context.methods or ())
]
CLOSED = [operation for operation in OPERATIONS if operation[1] not in OPEN_PATHS]
# Made by the framework for logins that there are none of: closed, and nothing behind it.
FRAMEWORKS = {"/docs/oauth2-redirect"}
OURS = [operation for operation in CLOSED if operation[1] not in FRAMEWORKS]
OF_A_FILE = [(method, path) for method, path in OURS if "{dataset_id}" in path or "{artifact_id}" in path]
OF_A_JOB = [(method, path) for method, path in OURS if "{job_id}" in path]


@dataclass(frozen=True)
class Sent:
    """One request of a route, right in all but who sends it."""

    method: str
    path: str
    json: dict[str, Any] | None = None
    csv: bytes | None = None


def request_of(method: str, path: str, job_id: str = UNKNOWN) -> Sent:
    """A request that would be answered if its sender may have it answered."""
    filled = path.replace("{job_id}", job_id).replace("{verb}/{name}", "explain/shap").replace("{name}", "demo")
    filled = filled.replace("{verb}/{method}", "explain/shap")
    known = known_method(filled.strip("/"))
    body = known.example if known is not None and method == "POST" else None
    filled = filled.replace("{dataset_id}", "ds_" + "0" * 26).replace("{artifact_id}", "art_" + "0" * 26)
    assert "{" not in filled, f"say what {path} shall be tested with"
    return Sent(method, filled, body, b"a\n1\n" if (method, path) == UPLOAD else None)


def scope_of(method: str, path: str) -> Scope:
    """What a route asks for, by the rule: metrics for /metrics, read to look, write to change."""
    if path == "/metrics":
        return Scope.METRICS
    return Scope.READ if method in SAFE else Scope.WRITE


async def send(client: httpx.AsyncClient, sent: Sent, authorization: str | None = None) -> httpx.Response:
    headers = {} if authorization is None else {"Authorization": authorization}
    if sent.csv is not None:
        headers["Content-Type"] = "text/csv"
    return await client.request(sent.method, sent.path, json=sent.json, content=sent.csv, headers=headers)


def is_problem(response: httpx.Response, method: str, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    if method == "HEAD":
        return {}
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["code"] == code, problem
    assert problem["request_id"] == response.headers["x-request-id"]
    return problem


def test_the_table_is_not_empty() -> None:
    assert {("POST", f"/{path}") for path in all_methods()} <= set(OURS)
    assert {("GET", "/jobs"), ("DELETE", "/jobs/{job_id}"), ("GET", "/models"), ("GET", "/methods")} <= set(OURS)
    assert {path for _, path in OPERATIONS} >= OPEN_PATHS


@pytest.fixture(autouse=True)
def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no worker here: who asks for an estimate would wait in vain."""
    monkeypatch.setattr("explaind_service.routes.estimates.WAIT_S", 0)


@pytest.mark.parametrize(("method", "path"), [operation for operation in OPERATIONS if operation[1] in OPEN_PATHS])
async def test_open_paths_ask_nobody(client, issue, forgetful, method: str, path: str) -> None:
    issue()
    for authorization in (None, "Bearer nonsense"):
        answer = await send(client, Sent(method, path), authorization)
        assert answer.status_code == (503 if path == "/readyz" else 200)  # there is no worker


@pytest.mark.parametrize(("method", "path"), CLOSED)
async def test_without_a_key_that_works(client, issue, revoke, forgetful, method: str, path: str) -> None:
    key, revoked, expired = issue("admin"), issue("admin"), issue("admin", lifetime_s=0.001)
    revoke(revoked)
    await asyncio.sleep(0.01)
    _, key_id, _ = key.key.split("_", 2)
    wrong = f"xp_{key_id}_{'A' * 43}"
    unknown = f"xp_{'a' * 12}_{'A' * 43}"
    for authorization, said in (
        (None, "none was sent"),
        ("", "none was sent"),
        ("Bearer", "none was sent"),
        ("Basic eHA6eHA=", "none was sent"),
        (key.key, "none was sent"),
        (f"Bearer {key.key}x", "not known"),
        (f"Bearer {key.key[:-1]}", "not known"),
        (f"Bearer {wrong}", "not known"),
        (f"Bearer {unknown}", "not known"),
        (f"Bearer {wrong.replace(key_id, revoked.record.id)}", "not known"),
        (f"Bearer {wrong.replace(key_id, expired.record.id)}", "not known"),
        (f"Bearer {revoked.key}", "was revoked"),
        (f"Bearer {expired.key}", "expired on"),
    ):
        response = await send(client, request_of(method, path), authorization)
        problem = is_problem(response, method, 401, "unauthenticated")
        assert response.headers["www-authenticate"].startswith("Bearer")
        if method != "HEAD":
            assert said in problem["detail"], (authorization, problem)
            assert "EXPLAIND_API_KEY" in problem["hint"]


@pytest.mark.parametrize(("method", "path"), OURS)
async def test_a_key_without_the_scope(client, issue, forgetful, method: str, path: str) -> None:
    needed = scope_of(method, path)
    lacking = {Scope.READ: ["metrics"], Scope.WRITE: ["read", "metrics"], Scope.METRICS: ["read", "write"]}[needed]
    response = await send(client, request_of(method, path), f"Bearer {issue(*lacking).key}")
    problem = is_problem(response, method, 403, "not_permitted")
    if method != "HEAD":
        assert f"`{needed}`" in problem["detail"]
        assert f"--scopes {needed}" in problem["hint"]


@pytest.mark.parametrize(("method", "path"), OURS)
async def test_a_key_with_the_scope(client, issue, forgetful, method: str, path: str) -> None:
    for scope in (scope_of(method, path), Scope.ADMIN):
        response = await send(client, request_of(method, path), f"bearer  {issue(scope).key}")
        expected = {404} if "_id}" in path else {200, 201, 202}
        assert response.status_code in expected, response.text


@pytest.mark.parametrize(("method", "path"), OF_A_JOB)
async def test_another_keys_job_is_not_there(client, issue, worker, shap, forgetful, method: str, path: str) -> None:
    owner, other, admin = issue(), issue(), issue("admin")
    submitted = await send(client, Sent("POST", "/explain/shap", shap), f"Bearer {owner.key}")
    sent = request_of(method, path, submitted.json()["id"])
    worker.succeed()
    seen = await send(client, sent, f"Bearer {other.key}")
    never = await send(client, request_of(method, path), f"Bearer {other.key}")
    problem, blank = (is_problem(response, method, 404, "job_not_found") for response in (seen, never))
    if method != "HEAD":
        for told in ("detail", "hint"):
            assert problem[told].replace(submitted.json()["id"], "") == blank[told].replace(UNKNOWN, "")
    for allowed in (owner, admin) if method != "DELETE" else (admin,):
        assert (await send(client, sent, f"Bearer {allowed.key}")).status_code in {200, 204}


@pytest.mark.parametrize(("method", "path"), OF_A_FILE)
async def test_another_keys_file_is_not_there(
    client, issue, valkey, settings, forgetful, method: str, path: str
) -> None:
    owner, other, admin = issue(), issue(), issue("admin")
    uploaded = await send(client, Sent("POST", "/datasets", csv=b"a\n1\n"), f"Bearer {owner.key}")
    files = FileStore(JobStore(valkey, settings).run, settings).of(owner.record.id)
    left = await asyncio.to_thread(files.put_artifact, "tuned-lens", "lens", b"x", model="demo")
    sent = Sent(method, path.replace("{dataset_id}", uploaded.json()["id"]).replace("{artifact_id}", left.id))
    code = "dataset_not_found" if "dataset" in path else "artifact_not_found"
    is_problem(await send(client, sent, f"Bearer {other.key}"), method, 404, code)
    listed = await send(client, Sent("GET", f"/{sent.path.split('/')[1]}"), f"Bearer {other.key}")
    assert listed.json() == {"data": [], "has_more": False}
    for allowed in (owner, admin) if method != "DELETE" else (admin,):
        assert (await send(client, sent, f"Bearer {allowed.key}")).status_code in {200, 204}


async def test_the_same_file_of_two_keys_is_two_datasets(client, issue, forgetful) -> None:
    ids = set()
    for key in (issue().key, issue().key):
        uploaded = await send(client, Sent("POST", "/datasets", csv=b"a\n1\n"), f"Bearer {key}")
        assert uploaded.status_code == 201
        ids.add(uploaded.json()["id"])
    assert len(ids) == 2


@pytest.mark.parametrize(("method", "path"), CLOSED)
async def test_with_no_redis_nobody_is_let_in(client_without_store, issue, method: str, path: str) -> None:
    for authorization in (None, f"Bearer {issue('admin').key}"):
        response = await send(client_without_store, request_of(method, path), authorization)
        is_problem(response, method, 503, "store_unavailable")
        assert "retry-after" in response.headers


@pytest.mark.parametrize(("method", "path"), OURS)
async def test_a_redis_that_refuses_is_no_error_of_the_service(
    client, issue, valkey, forgetful, method: str, path: str
) -> None:
    key = issue("admin").key
    with refusing(valkey, "NOREPLICAS"):
        response = await send(client, request_of(method, path), f"Bearer {key}")
        if not _writes(method, path):
            assert response.status_code in {200, 404}, response.text
            return
        problem = is_problem(response, method, 503, "store_unavailable")
        assert "retry-after" in response.headers
        if method != "HEAD":
            assert "(NOREPLICAS)" in problem["detail"]
            assert problem["retryable"]
    response = await send(client, request_of(method, path), f"Bearer {key}")
    assert response.status_code in ({404} if "_id}" in path else {200, 201, 202}), response.text


def _writes(method: str, path: str) -> bool:
    """Whether a request of a route writes to the store; what is not there is looked for, and not changed.

    A cancel begins with a write, so that it is done while the memory is full.
    """
    return (
        (method == "POST" and "_id}" not in path) or path.endswith("/cancel") or path in {"/models", "/models/{name}"}
    )


async def test_what_is_not_there_is_closed_too(client, issue, forgetful, expect_problem) -> None:
    key = issue("read")
    for path in ("/nowhere", "/jobs/", "/healthz/", "/docs/x", "/Healthz"):
        expect_problem(await client.get(path), 401, "unauthenticated")
        assert (await send(client, Sent("GET", path), f"Bearer {key.key}")).status_code == 404


async def test_nothing_of_a_strangers_body_is_read(client, issue, forgetful, expect_problem) -> None:
    issue()

    async def body():
        raise AssertionError("the body was read")
        yield b""

    headers = {"Content-Type": "application/json"}
    expect_problem(await client.post("/explain/shap", content=body(), headers=headers), 401, "unauthenticated")
    expect_problem(await client.post("/explain/shap", content=b"{", headers=headers), 401, "unauthenticated")
