"""The line of a request in the log."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from explaind_jobs.observability.logs import log_handler
from tests.support.apps import create_app

LOGGER = "explaind_service.middleware.request_metrics"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream, logger = io.StringIO(), logging.getLogger("explaind_service")
    handler, level = log_handler(stream, "json"), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(level)


def access_lines(log: io.StringIO) -> list[dict]:
    return [line for line in map(json.loads, log.getvalue().splitlines()) if line["logger"] == LOGGER]


async def test_a_line_a_request(settings, client_of, log, shap) -> None:
    async with client_of(create_app(settings.model_copy(update={"access_log": True}))) as client:
        accepted = await client.post("/explain/shap?key=secret", json=shap, headers={"X-Request-Id": "find-me"})
        await client.get("/no%20such%0Aplace?prompt=secret")
    made, missing = access_lines(log)
    assert (made["http_method"], made["path"], made["status"]) == ("POST", "/explain/shap", 202)
    assert (made["request_id"], made["job"]) == ("find-me", accepted.json()["id"])
    assert 0 < made["seconds"] < 60
    assert (missing["path"], missing["status"]) == ("/no%20such%0Aplace", 404)
    assert "secret" not in log.getvalue()


async def test_none_unless_asked_for(client, log) -> None:
    await client.get("/")
    assert access_lines(log) == []


async def test_what_is_done_for_a_job_says_so(client, log, shap) -> None:
    job = (await client.post("/explain/shap", json=shap, headers={"X-Request-Id": "r-1"})).json()
    (line,) = [json.loads(line) for line in log.getvalue().splitlines()]
    assert line["message"] == "accepted explain/shap on demo"
    assert (line["job"], line["request_id"], line["method"], line["model"]) == (
        job["id"],
        "r-1",
        "explain/shap",
        "demo",
    )


async def test_a_refused_body_is_seen_too(settings, client_of, log) -> None:
    small = settings.model_copy(update={"access_log": True, "max_body_bytes": 1024})
    async with client_of(create_app(small)) as client:
        await client.post("/explain/shap", content=b"x" * 2000)
    assert [line["status"] for line in access_lines(log)] == [413]
