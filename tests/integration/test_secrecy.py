"""Whatever happens to a request, no line of any logger, down to DEBUG, quotes its prompt or its key."""

import io
import json
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from explaind.contract.errors import PromptTooLong
from explaind.contract.job import JobState
from explaind.contract.registry import all_methods
from explaind_jobs.observability import logs
from explaind_jobs.observability.log_context import hand_down_context
from explaind_jobs.observability.logs import log_handler
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.records import Claim, Outcome
from explaind_service.app import create_app
from explaind_service.settings import ServiceSettings
from explaind_worker.runtime.job_control import JobControl
from explaind_worker.runtime.worker import JobRunner, Worker

MARKER = "correct-horse-battery"
JSON = {"Content-Type": "application/json"}
SECRETS = {
    "Authorization": f"Bearer xp_0a1b2c3d_{MARKER}",
    "X-API-Key": f"xp_0a1b2c3d_{MARKER}",
    "Idempotency-Key": f"{MARKER}-1",
    "Cookie": f"session={MARKER}",
}


class CarelessRunner(JobRunner):
    """Ends each job another way, and puts the prompt into the words of every error."""

    def __init__(self) -> None:
        self.ends = iter(["succeeds", "fails", "crashes", "crashes in a thread"])

    def run(self, claim: Claim, control: JobControl) -> Outcome:
        prompt = json.loads(claim.request)["prompt"]
        assert MARKER in prompt
        logging.getLogger("a.library").debug("a library's line")
        match next(self.ends):
            case "fails":
                raise PromptTooLong.at("/prompt", f"{prompt!r} is too long.")
            case "crashes":
                try:
                    raise KeyError(prompt)
                except KeyError as error:
                    raise RuntimeError(prompt) from error
            case "crashes in a thread":
                thread = threading.Thread(target=_crash, args=(prompt,))
                thread.start()
                thread.join()
                raise ValueError(prompt)
        return Outcome(JobState.SUCCEEDED, result=json.dumps({"prompt": prompt}).encode())


def _crash(prompt: str) -> None:
    raise OSError(prompt)


@pytest.fixture(params=["json", "text"])
def written(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Every line that any logger writes, set up as the commands do."""
    root, stream = logging.getLogger(), io.StringIO()
    handler, level = log_handler(stream, request.param), root.level
    loggers = [logger for logger in root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    levels = [(logger, logger.level) for logger in loggers]
    monkeypatch.setattr(threading, "excepthook", logs._thread_died)
    monkeypatch.setattr(threading.Thread, "start", threading.Thread.start)
    hand_down_context()
    for logger in (root, *loggers):
        logger.setLevel(logging.DEBUG)
    handler.addFilter(lambda record: record.name != "httpx")  # the caller's own lines
    root.addHandler(handler)
    yield stream
    root.removeHandler(handler)
    for logger, before in ((root, level), *levels):
        logger.setLevel(before)


@pytest.fixture
async def service(redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(ServiceSettings(redis_url=redis_url, access_log=True))

    @app.post("/broken")
    async def broken(body: dict[str, Any]) -> None:
        try:
            raise KeyError(body["prompt"])
        except KeyError as error:
            raise RuntimeError(str(body)) from error

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=SECRETS) as client,
    ):
        yield client


@pytest.fixture
def worker(redis_url: str, tmp_path: Path) -> Iterator[Worker]:
    """A worker that takes its permits from the test."""
    worker = Worker(JobsSettings(redis_url=redis_url, data_dir=tmp_path), CarelessRunner())
    yield worker
    worker._client.close()
    worker._name.release()


async def test_nothing_quotes_the_prompt_or_the_key(service, worker: Worker, written: io.StringIO) -> None:
    example = {**all_methods()["explain/shap"].example, "prompt": f"{MARKER} was great."}
    jobs = []
    for number in range(4):
        headers = {"Idempotency-Key": f"{MARKER}-{number}", "X-Request-Id": f"req-{number}"}
        response = await service.post("/explain/shap", json={**example, "seed": number}, headers=headers)
        assert response.status_code == 202, response.text
        jobs.append(response.json()["id"])
        worker.permit()
    states = [(await service.get(f"/jobs/{job_id}")).json()["state"] for job_id in jobs]
    assert states == ["succeeded", "failed", "failed", "failed"]
    assert MARKER in (await service.get(f"/jobs/{jobs[0]}/result")).text
    refused = [
        await service.post(
            "/explain/shap", content=f'{{"prompt": "{MARKER}', headers={"Content-Type": "application/json"}
        ),
        await service.post("/explain/shap", json={**example, MARKER: MARKER, "units": MARKER}),
        await service.post("/explain/shap", json={**example, "model": MARKER}),
        await service.post("/explain/shap", json={**example, "seed": 7}),  # that key belongs to another request
        await service.get(f"/jobs?state={MARKER}&key={MARKER}"),
        await service.post("/broken", json={"prompt": MARKER}),
    ]
    assert [response.status_code for response in refused] == [400, 422, 422, 422, 422, 500]
    lines = written.getvalue()
    assert MARKER not in lines
    for number, job_id in enumerate(jobs):
        assert lines.count(job_id) > 2
        assert f"req-{number}" in lines
    for told in (
        "a library's line",
        "RuntimeError",
        "after KeyError",
        "ended: OSError",
        "in broken",
        "POST /broken 500",
    ):
        assert told in lines
