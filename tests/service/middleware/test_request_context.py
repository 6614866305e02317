"""The outermost layer: ids on every answer, nothing of the inside in any."""

import logging
import re

import httpx
import pytest

from explaind_service.body_limits import BodyLimits
from explaind_service.metrics.exposition import ServiceMetrics
from explaind_service.middleware.request_context import RequestEnvelope
from explaind_service.middleware.request_metrics import RequestWatch
from tests.support.apps import create_app

MADE = re.compile(r"req_[0-9a-f]{24}")
PATHS = ["/", "/nowhere", "/docs", "/openapi.json", "/jobs?limit=0"]


@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_has_an_id_of_its_own(client, path: str) -> None:
    first, second = await client.get(path), await client.get(path)
    assert MADE.fullmatch(first.headers["x-request-id"])
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert first.headers["x-content-type-options"] == "nosniff"
    assert first.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("asked", ["a", "0f3c-77.x_Y", "x" * 64])
async def test_a_callers_id_is_kept(client, asked: str) -> None:
    response = await client.get("/nowhere", headers={"X-Request-Id": asked})
    assert response.headers["x-request-id"] == asked == response.json()["request_id"]


@pytest.mark.parametrize("asked", ["", "x" * 65, "a b", "<script>", "a\tb", "é", "-x", "a,b"])
async def test_an_id_that_is_none_is_replaced(client, asked: str) -> None:
    response = await client.get("/", headers={"X-Request-Id": asked.encode("utf-8")})
    assert MADE.fullmatch(response.headers["x-request-id"])


@pytest.mark.parametrize("error", [KeyError("inner words"), ValueError("a secret prompt")])
async def test_the_unforeseen(settings, client_of, expect_problem, caplog, error: Exception) -> None:
    app = create_app(settings)

    @app.get("/broken")
    async def broken() -> None:
        raise error

    async with client_of(app) as client:
        with caplog.at_level(logging.ERROR, "explaind_service"):
            response = await client.get("/broken", headers={"X-Request-Id": "find-me"})
    problem = expect_problem(response, 500, "internal_error")
    assert problem["hint"]
    assert str(error) not in response.text
    (record,) = caplog.records
    assert "find-me" in record.message
    assert "in broken" in record.message
    assert type(error).__name__ in record.message
    # What an error says may quote a prompt, so it is not even logged.
    assert str(error) not in caplog.text


async def test_an_error_outside_the_framework(expect_problem) -> None:
    async def broken(scope, receive, send) -> None:
        raise RuntimeError("deep inside")

    transport = httpx.ASGITransport(RequestEnvelope(broken, BodyLimits(1024, 4096), RequestWatch(ServiceMetrics())))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        expect_problem(await client.get("/"), 500, "internal_error")


@pytest.mark.parametrize("path", ["/jobs", "/datasets", "/healthz", "/nowhere"])
async def test_very_many_parameters_and_headers_are_not_looked_at(
    client, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr("explaind_service.errors.problems.error_of_validation", None)
    many = {f"x{number}": "" for number in range(3000)}
    for refused in (await client.get(path, params=many), await client.get(path, headers=many)):
        assert (refused.status_code, refused.json()["code"]) == (400, "bad_request")
        assert "100 query parameters or 200 headers" in refused.json()["detail"]


async def test_as_many_as_a_request_may_have(client) -> None:
    params = {f"x{number}": "" for number in range(100)}
    answer = await client.get("/jobs", params=params, headers={f"a{number}": "" for number in range(150)})
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 32
