"""The service over ASGI on a real Valkey, and a stand-in for the worker that ends its jobs."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import redis
import uvicorn
from fastapi import FastAPI

from explaind.contract.errors import JobError
from explaind.contract.job import JobState, Timing
from explaind.contract.registry import all_methods
from explaind_jobs.store.job_store import JobStore
from explaind_jobs.store.permits import permits_key
from explaind_jobs.store.records import Claim, Outcome
from explaind_service.settings import ServiceSettings
from tests.support.apps import create_app, take_back_apps

ATTRIBUTION: dict[str, Any] = {
    "kind": "attribution",
    "prompt": "The food was great.",
    "units": [{"text": "great", "start": 13, "end": 18, "name": None, "role": None, "special": False}],
    "values": [1.25],
    "values_by_target": [[1.25]],
    "standard_errors": None,
    "base_value": -2.0,
    "full_value": -0.75,
    "completeness_gap": 0.0,
    "score": "logprob",
    "target": {"text": " positive", "tokens": [{"text": " positive", "id": 417, "logprob": -0.75}]},
    "foil": None,
    "labels": None,
    "baseline": {"choice": "mask", "text": "<mask>", "token_ids": [3]},
    "algorithm": "exact",
    "evaluations": 2,
}


@dataclass(frozen=True)
class StandInWorker:
    """Claims and ends jobs as a worker would."""

    store: JobStore

    def wait_for_permit(self) -> None:
        """Blocks until it is rung for."""
        key = permits_key(self.store.settings, "default")
        assert self.store.client.blpop([key], timeout=10) is not None

    def claim(self) -> Claim:
        """The next job."""
        claim = self.store.claim("stand-in@test", ["default"])
        assert claim is not None
        return claim

    def succeed(self, result: dict[str, Any] | None = None) -> Claim:
        """Ends the next job with a result."""
        claim = self.claim()
        self.end(claim, orjson.dumps(ATTRIBUTION if result is None else result))
        return claim

    def end(self, claim: Claim, result: bytes) -> None:
        """Ends a claimed job with these bytes."""
        timing = Timing(queued_s=claim.queued_s, seconds=0.5)
        outcome = Outcome(JobState.SUCCEEDED, result=result, timing=timing)
        assert self.store.finish(claim.id, claim.attempt, outcome) == "finished"

    def fail(self, error: JobError) -> Claim:
        """Ends the next job with an error."""
        claim = self.claim()
        outcome = Outcome(JobState.FAILED, error=error.problem())
        assert self.store.finish(claim.id, claim.attempt, outcome) == "finished"
        return claim


@pytest.fixture(autouse=True)
def apps() -> Iterator[None]:
    """Applications are lent to one test at a time."""
    yield
    take_back_apps()


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where services of this test keep their files."""
    monkeypatch.setenv("EXPLAIND_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def settings(redis_url: str) -> ServiceSettings:
    return ServiceSettings(redis_url=redis_url)


@asynccontextmanager
async def _client_of(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        yield client


@pytest.fixture
def client_of() -> Callable[[FastAPI], AbstractAsyncContextManager[httpx.AsyncClient]]:
    """Starts an application and talks to it."""
    return _client_of


@pytest.fixture
def app(settings: ServiceSettings) -> FastAPI:
    return create_app(settings)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with _client_of(app) as client:
        yield client


@pytest.fixture
async def client_without_store(tmp_path) -> AsyncIterator[httpx.AsyncClient]:
    url = f"unix://{tmp_path}/no-such.sock"
    async with _client_of(create_app(ServiceSettings(redis_url=url))) as client:
        yield client


@pytest.fixture
def worker(valkey: redis.Redis, settings: ServiceSettings) -> StandInWorker:
    return StandInWorker(JobStore(valkey, settings))


@pytest.fixture
def attribution() -> dict[str, Any]:
    """The result that the stand-in stores."""
    return ATTRIBUTION


@pytest.fixture
def shap() -> dict[str, Any]:
    """A request that is right."""
    return dict(all_methods()["explain/shap"].example)


@pytest.fixture
def expect_problem() -> Callable[..., dict[str, Any]]:
    """Checks that an answer is a problem of that status and code, and returns it."""

    def check(response: httpx.Response, status: int, code: str, *pointers: str) -> dict[str, Any]:
        assert response.headers["content-type"] == "application/problem+json", response.text
        problem = response.json()
        assert (response.status_code, problem["status"], problem["code"]) == (status, status, code), problem
        assert problem["type"] == f"urn:explaind:problem:{code}"
        assert problem["title"]
        assert problem["detail"]
        assert problem["request_id"] == response.headers["x-request-id"]
        assert "Traceback" not in response.text
        assert [error["pointer"] for error in problem["errors"]] == list(pointers), problem
        return problem

    return check


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    """Waits for a condition; fails when it does not come true."""

    async def wait(condition: Callable[[], object], seconds: float = 20.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - the condition is anything
                await asyncio.sleep(0.005)

    return wait


@asynccontextmanager
async def _serving(app: FastAPI) -> AsyncIterator[str]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=5, lifespan="on"))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        async with asyncio.timeout(20):
            while not server.started:  # noqa: ASYNC110 - the server sets a flag
                await asyncio.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            app.state.resources.hub.stop()
            server.should_exit = True
            await serving


@pytest.fixture
def serving() -> Callable[[FastAPI], AbstractAsyncContextManager[str]]:
    """Serves an application over TCP, in this loop; gives its address. Over ASGI alone nothing streams."""
    return _serving
