"""The service as a process, over TCP, on a real Valkey, with a thread in the worker's place."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from explaind import AsyncClient, Client
from explaind.contract.errors import WaitTimeout
from explaind.contract.job import JobState, Progress
from explaind.contract.registry import all_methods
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import JobStore
from explaind_jobs.store.permits import permits_key
from explaind_jobs.store.records import Outcome

pytestmark = pytest.mark.integration

TOKENIZATION = b'{"kind":"tokenization","prompt":"a b","tokens":[],"units":[],"count":0}'
REQUEST = all_methods()["infer/tokenize"].example


@dataclass
class StandIn:
    """Does every job it is rung for, once it is let."""

    store: JobStore
    let: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Until stopped: wait for a permit, claim, report, finish."""
        while not self.stopped.is_set():
            if self.store.client.blpop([permits_key(self.store.settings, "default")], timeout=0.2) is None:
                continue
            self.let.wait(30)
            claim = self.store.claim("stand-in@test", ["default"])
            if claim is not None:
                progress = Progress(phase="cutting", done=1, total=1, unit="prompts")
                self.store.progress(claim.id, claim.attempt, progress)
                self.store.finish(claim.id, claim.attempt, Outcome(JobState.SUCCEEDED, result=TOKENIZATION))


@dataclass(frozen=True)
class Service:
    """A running service."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def wait_until_up(self) -> None:
        """Returns when it answers; fails when it has ended."""
        until = time.monotonic() + 30
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log.read_text()
            try:
                httpx.get(f"{self.url}/healthz", trust_env=False).raise_for_status()
            except httpx.TransportError:
                time.sleep(0.05)
            else:
                return
        pytest.fail(self.log.read_text())


@pytest.fixture(scope="module")
def services(valkey_socket: Path) -> Iterator[list[Service]]:
    """Those that were started, the last one at the end; all are stopped when the module is over."""
    started: list[Service] = []
    yield started
    for service in started:
        service.process.kill()
        service.process.wait()


@pytest.fixture
def service(services: list[Service], redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """A running service with an empty store: the one of the test before, unless that test stopped it."""
    if not services or services[-1].process.poll() is not None:
        services.append(start_service(redis_url, tmp_path_factory.mktemp("service")))
        services[-1].wait_until_up()
    return services[-1]


def start_service(redis_url: str, folder: Path) -> Service:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {
        **os.environ,
        "EXPLAIND_REDIS_URL": redis_url,
        "EXPLAIND_PORT": str(port),
        "EXPLAIND_DATA_DIR": str(folder / "data"),
        "EXPLAIND_MAX_BODY_BYTES": "4096",
    }
    log = folder / "service.log"
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "explaind_service"], env=env, stdout=out, stderr=out)
    return Service(process, port, log)


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture
def stand_in(valkey: redis.Redis, redis_url: str) -> Iterator[StandIn]:
    stand_in = StandIn(JobStore(valkey, JobsSettings(redis_url=redis_url)))
    thread = threading.Thread(target=stand_in.run)
    thread.start()
    yield stand_in
    stand_in.stopped.set()
    stand_in.let.set()
    thread.join()


def submit_in_thread(http: httpx.Client, answers: list[httpx.Response], **headers: str) -> threading.Thread:
    def submit() -> None:
        answers.append(http.post("/infer/tokenize", json=REQUEST, headers=headers))

    thread = threading.Thread(target=submit)
    thread.start()
    return thread


def the_only_job(http: httpx.Client) -> dict[str, Any]:
    while not (jobs := http.get("/jobs").json()["data"]):
        time.sleep(0.01)
    (job,) = jobs
    return job


def test_the_whole_way(http: httpx.Client, stand_in: StandIn) -> None:
    accepted = http.post("/infer/tokenize", json=REQUEST)
    assert accepted.status_code == 202
    assert "server" not in accepted.headers
    path = accepted.headers["location"]
    assert http.get(f"{path}/result").status_code == 409
    stand_in.let.set()
    waited = http.post("/infer/tokenize", json=REQUEST, headers={"Prefer": "wait=30"})
    assert (waited.status_code, waited.json()["result"]["count"]) == (200, 0)
    job = http.get(path).json()
    assert (job["state"], job["progress"]["phase"], job["result"]["kind"]) == (
        "succeeded",
        "cutting",
        "tokenization",
    )
    assert http.get(f"{path}/result").content == TOKENIZATION
    assert "<html" in http.get(f"{path}/report").text
    assert http.delete(path).status_code == 204
    assert http.get(path).json()["code"] == "job_not_found"


def test_others_are_served_while_some_wait(http: httpx.Client, stand_in: StandIn) -> None:
    answers: list[httpx.Response] = []
    waiting = [submit_in_thread(http, answers, Prefer="wait=30") for _ in range(5)]
    while http.get("/readyz").json()["queued"] < 5:
        time.sleep(0.01)
    began = time.perf_counter()
    for _ in range(20):
        assert http.get("/healthz").status_code == 200
    assert time.perf_counter() - began < 5
    stand_in.let.set()
    for thread in waiting:
        thread.join()
    assert [answer.status_code for answer in answers] == [200] * 5


def test_a_caller_who_leaves_harms_nobody(http: httpx.Client, service: Service, stand_in: StandIn) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{service.url}/infer/tokenize",
            json=REQUEST,
            headers={"Prefer": "wait=30"},
            timeout=httpx.Timeout(10, read=0.3),
            trust_env=False,
        )
    job = the_only_job(http)
    assert job["state"] == "queued"
    stand_in.let.set()
    while (job := http.get(job["links"]["self"]).json())["state"] != "succeeded":
        time.sleep(0.01)
    assert "Traceback" not in service.log.read_text()


def test_stopping_answers_those_who_wait(http: httpx.Client, service: Service) -> None:
    answers: list[httpx.Response] = []
    waiting = submit_in_thread(http, answers, Prefer="wait=30")
    job = the_only_job(http)
    service.process.send_signal(signal.SIGTERM)
    waiting.join(10)
    assert [answer.status_code for answer in answers] == [202]
    assert answers[0].json()["id"] == job["id"]
    service.process.wait(10)
    assert "Traceback" not in service.log.read_text()


def test_the_client_follows_a_job_through_its_events(service: Service, stand_in: StandIn) -> None:
    with Client(service.url) as client:
        handle = client.submit("infer/tokenize", REQUEST)
        events = handle.events()
        seen = [next(events).kind]
        stand_in.let.set()
        seen += [event.kind for event in events]
        assert seen == ["job", "state", "progress", "end"]
        assert handle.job.result.kind == "tokenization"
        assert handle.wait(5).state == "succeeded"


async def test_the_async_client_does_too(service: Service, stand_in: StandIn) -> None:
    async with AsyncClient(service.url) as client:
        handle = await client.submit("infer/tokenize", REQUEST)
        stand_in.let.set()
        assert [event.kind async for event in handle.events()][-1] == "end"
        assert handle.job.state == "succeeded"


def test_a_wait_ends_in_time_although_nothing_happens(service: Service, stand_in: StandIn) -> None:
    with Client(service.url) as client:
        handle = client.submit("infer/tokenize", REQUEST)
        began = time.perf_counter()
        with pytest.raises(WaitTimeout):
            handle.wait(timeout=0.5)
        assert 0.4 < time.perf_counter() - began < 5


def test_stopping_takes_leave_of_those_who_follow(http: httpx.Client, service: Service) -> None:
    path = http.post("/infer/tokenize", json=REQUEST).headers["location"]
    with http.stream("GET", f"{path}/events") as response:
        chunks = response.iter_text()
        assert next(chunks).startswith("event: job")
        service.process.send_signal(signal.SIGTERM)
        began = time.perf_counter()
        assert "".join(chunks).startswith("retry: ")
        assert time.perf_counter() - began < 5
    service.process.wait(10)
    assert "Traceback" not in service.log.read_text()


@pytest.mark.parametrize("chunked", [False, True])
def test_too_large(http: httpx.Client, chunked: bool) -> None:
    body = b'{"model": "demo", "prompt": "' + b"x" * 100_000 + b'"}'
    content = iter([body[:3000], body[3000:]]) if chunked else body
    response = http.post("/infer/tokenize", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 413
    assert response.json()["code"] == "body_too_large"
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert http.get("/healthz").status_code == 200


def test_the_log_holds_no_prompt(http: httpx.Client, service: Service) -> None:
    secret = "a very secret prompt"
    http.post("/infer/tokenize", json={"model": "demo", "prompt": secret})
    http.post("/infer/tokenize", json={"model": "demo", "prompt": secret, "units": "x"})
    http.post("/infer/tokenize", content=f'{{"prompt": "{secret}"', headers={"Content-Type": "application/json"})
    service.process.send_signal(signal.SIGTERM)
    service.process.wait(20)
    log = service.log.read_text()
    assert service.url in log
    assert secret not in log
