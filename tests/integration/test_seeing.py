"""From the request to the worker's last line: one request id, one trace, and no word of the prompt."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from explaind.contract.registry import all_methods
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import JobStore
from explaind_service.app import create_app
from explaind_service.settings import ServiceSettings

pytestmark = pytest.mark.integration

LOGGING_WORKER = Path(__file__).with_name("logging_worker.py")
PATIENCE_S = 30.0
MARKER = "correct-horse-battery"


class Collector:
    """A collector of traces: keeps the spans that are sent to it over OTLP/HTTP."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        spans = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    named = {fact.key: fact.value.string_value for fact in resource.resource.attributes}
                    spans.extend(
                        (named["service.name"], span) for scope in resource.scope_spans for span in scope.spans
                    )
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever, daemon=True)
    thread.start()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()
    thread.join()


@contextmanager
def running_worker(redis_url: str, folder: Path, **env: str) -> Iterator[Path]:
    """A worker, until the block ends; what it wrote is in the file."""
    log = folder / "worker.log"
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [sys.executable, str(LOGGING_WORKER)],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                "EXPLAIND_REDIS_URL": redis_url,
                "EXPLAIND_DATA_DIR": str(folder / "data"),
                "EXPLAIND_LOG_LEVEL": "DEBUG",
                **env,
            },
            stdout=subprocess.DEVNULL,  # Celery's farewell
            stderr=output,
        )
        try:
            yield log
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(PATIENCE_S) == 0
        finally:
            worker.kill()
            worker.wait()


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
async def service(redis_url: str, spans: InMemorySpanExporter) -> AsyncIterator[httpx.AsyncClient]:
    """The service in this process, traced into `spans`."""
    app = create_app(ServiceSettings(redis_url=redis_url, telemetry=True))
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    app._native_telemetry.config["tracer_provider"] = provider
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=PATIENCE_S) as client,
    ):
        yield client
    provider.shutdown()


def request(end: str = "") -> dict[str, Any]:
    """A request with the marker in its prompt, whose job ends so."""
    example = dict(all_methods()["explain/shap"].example)
    return {**example, "prompt": f"{MARKER} was great.", "units": "word", "metadata": {"end": end}}


async def ended(service: httpx.AsyncClient, end: str, request_id: str) -> dict[str, Any]:
    """The job of such a request, once it has ended."""
    headers = {"X-Request-Id": request_id, "Prefer": "wait=30", "Idempotency-Key": f"{MARKER}-{request_id}"}
    response = await service.post("/explain/shap", json=request(end), headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


def lines_of(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


async def test_one_request_id_from_the_header_to_the_last_line(service, redis_url: str, tmp_path: Path) -> None:
    with running_worker(redis_url, tmp_path) as log:
        jobs = {end: await ended(service, end, f"req-{end}") for end in ("well", "fail", "crash")}
    assert [job["state"] for job in jobs.values()] == ["succeeded", "failed", "failed"]
    for end in ("fail", "crash"):
        stored = (await service.get(f"/jobs/{jobs[end]['id']}")).json()["error"]
        assert (stored["request_id"], stored["instance"]) == (f"req-{end}", f"/jobs/{jobs[end]['id']}")
    lines = lines_of(log)
    for end, job in jobs.items():
        about = [line for line in lines if line.get("job") == job["id"]]
        said = {line["message"].split(" after")[0].split(",")[0] for line in about}
        assert {"began explain/shap on demo", "a library's line", "a thread's line", job["state"]} <= said
        for line in about:
            assert (line["request_id"], line["attempt"], line["method"], line["model"]) == (
                f"req-{end}",
                1,
                "explain/shap",
                "demo",
            )
            assert line["worker"]
    (ready,) = [line for line in lines if "is ready" in line["message"]]
    assert "job" not in ready
    assert MARKER not in log.read_text(encoding="utf-8")


async def test_one_trace_from_the_request_to_the_worker(
    service, spans: InMemorySpanExporter, collector: Collector, redis_url: str, tmp_path: Path
) -> None:
    env = {"EXPLAIND_TELEMETRY": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
    with running_worker(redis_url, tmp_path, **env) as log:
        job = await ended(service, "crash", "traced")
    ((name, of_job),) = collector.spans
    (of_request,) = [span for span in spans.get_finished_spans() if span.name == "POST /explain/shap"]
    assert of_job.trace_id.hex() == f"{of_request.context.trace_id:032x}"
    assert of_job.parent_span_id.hex() == f"{of_request.context.span_id:016x}"
    assert (name, of_job.name) == ("explaind-worker", "job explain/shap")
    attributes = {fact.key: fact.value for fact in of_job.attributes}
    assert attributes["explaind.job"].string_value == job["id"]
    assert attributes["explaind.state"].string_value == "failed"
    assert attributes["error.type"].string_value == "internal_error"
    assert MARKER.encode() not in of_job.SerializeToString()
    assert MARKER not in "".join(span.to_json() for span in spans.get_finished_spans())
    about = [line for line in lines_of(log) if line.get("job") == job["id"]]
    assert {line["trace_id"] for line in about} == {of_job.trace_id.hex()}


async def test_text_lines_name_the_job(service, redis_url: str, tmp_path: Path) -> None:
    with running_worker(redis_url, tmp_path, EXPLAIND_LOG_FORMAT="text") as log:
        job = await ended(service, "well", "req-text")
    written = log.read_text(encoding="utf-8")
    assert re.search(rf"WARNING \[{job['id']} req-text\] a thread's line$", written, re.MULTILINE)


async def test_a_job_whose_workers_died_says_which_request_made_it(
    service, valkey: redis.Redis, redis_url: str
) -> None:
    settings = JobsSettings(redis_url=redis_url, max_losses=1, lease_s=0.01, heartbeat_s=0.005, queue_ttl_s=1)
    store = JobStore(valkey, settings)
    lost = (await service.post("/explain/shap", json=request("a"), headers={"X-Request-Id": "lost-one"})).json()["id"]
    store.claim("w", ["default"])
    old = (await service.post("/explain/shap", json=request("b"), headers={"X-Request-Id": "old-one"})).json()["id"]
    await_end(store, lost)
    await_end(store, old)
    for job_id, request_id, code in ((lost, "lost-one", "worker_lost"), (old, "old-one", "queue_expired")):
        error = store.get(job_id).error
        assert error is not None
        assert (error.code, error.request_id, error.instance) == (code, request_id, f"/jobs/{job_id}")


def await_end(store: JobStore, job_id: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not store.get(job_id).state.terminal:
        assert time.monotonic() < deadline
        store.reap()
        time.sleep(0.02)
