"""Requests made up from the OpenAPI document to a service that asks for keys: who may not is told so."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from explaind_service.app import create_app
from explaind_service.settings import ServiceSettings
from tests.support import LONG
from tests.support.schema_cases import Fuzzer
from tests.support.schema_document import documented, documented_once, submissions

# The keys are the tests' own: the document without them keeps the generator from making some up.
OPERATIONS = documented(keys=False)
NEEDED = {
    operation.label: next(iter(security[0].values()))
    for operation in documented(keys=True)
    if (security := operation.definition.raw.get("security"))
}
CLOSED = [operation for operation in OPERATIONS if operation.label in NEEDED]
VARIED = documented_once()
# Every route is asked by every kind of caller in test_routes.py; the fuzz asks those of one body once.
ASKED = [operation for operation in VARIED if operation.label in NEEDED]
OF_EACH_SCOPE = list({NEEDED[operation.label][0]: operation for operation in reversed(ASKED)}.values())
ALL = ("read", "write", "admin", "metrics")
OTHERS = {"read": ("metrics",), "write": ("read", "metrics"), "metrics": ("read", "write")}


def each(operations: list[Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("operation", operations, ids=lambda operation: operation.label)


@pytest.fixture(scope="module")
def serving_http(valkey_socket: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One application for the module; what it keeps is in Valkey and on disk."""
    settings = ServiceSettings(redis_url=f"unix://{valkey_socket}?db=0", data_dir=tmp_path_factory.mktemp("data"))
    app = create_app(settings.model_copy(update={"max_wait_s": 0, "max_stream_s": 0.02}))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def settings(serving_http: TestClient, redis_url: str) -> ServiceSettings:
    """Those of the application: keys are made with its pepper."""
    return serving_http.app.state.settings


@pytest.fixture
def http(serving_http: TestClient, forgetful, issue) -> TestClient:
    """The application with no jobs, no files and one key, which closes the door."""
    issue(*ALL)
    return serving_http


def fuzzer_of(http: TestClient, authorization: str | None) -> Fuzzer:
    """Sends requests with that header."""

    def send(asked: dict[str, Any]) -> Any:
        if authorization is not None:
            asked["headers"]["Authorization"] = authorization
        return http.request(**asked)

    return Fuzzer(send)


def test_everything_but_a_few_pages_is_closed() -> None:
    assert {operation.path for operation in OPERATIONS if operation not in CLOSED} == {"/", "/healthz", "/readyz"}


@each(VARIED)
def test_with_a_key(http: TestClient, issue, operation: Any) -> None:
    fuzzer = fuzzer_of(http, f"Bearer {issue(*ALL).key}")
    fuzzer.run(operation, examples=12 if LONG or operation not in submissions(VARIED) else 4, number=8)
    assert not {401, 403} & fuzzer.seen[operation.label].keys()


@each(ASKED)
def test_with_a_key_for_something_else(http: TestClient, issue, operation: Any) -> None:
    (needed,) = NEEDED[operation.label]
    fuzzer = fuzzer_of(http, f"Bearer {issue(*OTHERS[needed]).key}")
    # Of the estimates only each fourth pair of verb and method is one.
    fuzzer.run(operation, examples=64 if "{method}" in operation.path else 8, number=9)
    # What is no JSON is not read further; all else hears of the scope first.
    assert 403 in fuzzer.seen[operation.label]
    assert fuzzer.seen[operation.label].keys() <= {403, 400, 404, 405}


@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer xp_0a1b2c3d_x", "Basic eDp5", "Bearer \x7f\t"])
@each(ASKED if LONG else OF_EACH_SCOPE)
def test_without_a_key(http: TestClient, operation: Any, authorization: str | None) -> None:
    fuzzer = fuzzer_of(http, authorization)
    fuzzer.run(operation, examples=4, number=10)
    assert fuzzer.seen[operation.label].keys() <= {401, 413}
    assert 401 in fuzzer.seen[operation.label]
