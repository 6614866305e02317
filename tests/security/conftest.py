"""The service over ASGI on a real Valkey, and as a process, for requests that mean no good."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import redis
from fastapi import FastAPI

from explaind.contract.job import JobState, Timing
from explaind_jobs.store.job_store import JobStore
from explaind_jobs.store.records import Outcome
from explaind_service.settings import ServiceSettings
from tests.support.apps import create_app, take_back_apps
from tests.support.asgi import Raw
from tests.support.http_process import Served, served

Finish = Callable[..., Awaitable[str]]
RESULT: dict[str, Any] = {"kind": "test", "values": [1, [2, 3], {"a": []}], "empty": []}


@pytest.fixture(autouse=True)
def apps() -> Iterator[None]:
    """Applications are lent to one test at a time."""
    yield
    take_back_apps()


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where services of this test keep their files."""
    monkeypatch.setenv("EXPLAIND_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture
def settings(redis_url: str) -> ServiceSettings:
    return ServiceSettings(redis_url=redis_url, max_wait_s=0, max_stream_s=0.02, access_log=True)


@pytest.fixture
async def raw(settings: ServiceSettings) -> AsyncIterator[Raw]:
    """Asks byte by byte."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield Raw(app)


def _client(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


@pytest.fixture
async def client(raw: Raw) -> AsyncIterator[httpx.AsyncClient]:
    """Asks as a client would."""
    async with _client(raw.app) as client:
        yield client


@pytest.fixture
def client_of() -> Callable[[FastAPI], AbstractAsyncContextManager[httpx.AsyncClient]]:
    """Starts another application and asks it."""

    @asynccontextmanager
    async def start(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
        async with app.router.lifespan_context(app), _client(app) as client:
            yield client

    return start


@pytest.fixture
def store(valkey: redis.Redis, settings: ServiceSettings) -> JobStore:
    return JobStore(valkey, settings)


@pytest.fixture
def request_of() -> Callable[..., dict[str, Any]]:
    """A request that is right but for these fields."""
    return lambda **fields: {"model": "demo", "prompt": "3 + 4 =", "target": " 7", **fields}


@pytest.fixture
def finish(client: httpx.AsyncClient, store: JobStore, request_of: Callable[..., dict[str, Any]]) -> Finish:
    """Has a job done with this result; its path."""

    async def make(result: dict[str, Any] = RESULT, **fields: Any) -> str:
        accepted = await client.post("/infer/score", json=request_of(**fields))
        assert accepted.status_code == 202, accepted.text
        claim = store.claim("stand-in@test", ["default"])
        assert claim is not None
        outcome = Outcome(JobState.SUCCEEDED, result=orjson.dumps(result), timing=Timing(seconds=0.5))
        assert store.finish(claim.id, claim.attempt, outcome) == "finished"
        return accepted.headers["location"]

    return make


@pytest.fixture(scope="module")
def service(valkey_socket: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service over TCP that waits one second for a request."""
    folder = tmp_path_factory.mktemp("service")
    with served(f"unix://{valkey_socket}?db=0", folder, RECEIVE_S="1", ACCESS_LOG="1") as service:
        yield service
