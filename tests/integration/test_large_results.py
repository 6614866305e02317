"""Large results all the way: a worker process, the store of blobs, the service over TCP, the SDK."""

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import redis

from explaind import Client
from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.job import JobState
from explaind_jobs.results.scripts import GRACE_MS
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import JobStore
from explaind_jobs.store.permits import PermitPublisher
from explaind_jobs.store.records import NewJob, Outcome

pytestmark = pytest.mark.integration

FAKE_WORKER = Path(__file__).with_name("fake_worker.py")
UNITS, TARGETS = 2000, 540
PATIENCE_S = 30.0


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {what}"
        time.sleep(0.01)


class Place:
    """A data directory, a store, and the processes that share them."""

    def __init__(self, client: redis.Redis, redis_url: str, folder: Path) -> None:
        self.settings = JobsSettings(redis_url=redis_url, data_dir=folder / "data")
        self.store = JobStore(client, self.settings)
        self.blobs = self.settings.data_dir / "results"
        self._log = (folder / "processes.log").open("ab")
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str, **env: str) -> subprocess.Popen[bytes]:
        known = {
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "EXPLAIND_REDIS_URL": str(self.settings.redis_url),
            "EXPLAIND_DATA_DIR": str(self.settings.data_dir),
        }
        process = subprocess.Popen(
            [sys.executable, *command], env={**os.environ, **known, **env}, stdout=self._log, stderr=self._log
        )
        self._processes.append(process)
        return process

    def start_service(self) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.start("-m", "explaind_service", EXPLAIND_PORT=str(port))
        url = f"http://127.0.0.1:{port}"

        def up() -> bool:
            try:
                return httpx.get(f"{url}/healthz", trust_env=False).is_success
            except httpx.TransportError:
                return False

        eventually(up, "the service answers")
        return url

    def submit(self) -> str:
        return self.store.create(NewJob("explain/shap", "demo", "default", b"{}")).id

    def finish(self, job_id: str, result: bytes) -> None:
        claim = self.store.claim("stand-in@test", ["default"])
        assert claim is not None
        outcome = Outcome(JobState.SUCCEEDED, result=result)
        assert self.store.finish(job_id, claim.attempt, outcome) == "finished"

    def files(self) -> list[Path]:
        return list(self.blobs.rglob("*.zst"))

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._log.close()


@pytest.fixture
def place(valkey: redis.Redis, redis_url: str, tmp_path: Path) -> Iterator[Place]:
    place = Place(valkey, redis_url, tmp_path)
    yield place
    place.close()


@pytest.fixture(scope="module")
def twenty_megabytes() -> bytes:
    """An attribution with a grid of more than a million numbers."""
    numbers = random.Random(7)
    unit = {"text": "great", "start": 0, "end": 5, "name": None, "role": None, "special": False}
    token = {"text": " positive", "id": 417, "logprob": -0.75}
    raw = orjson.dumps(
        {
            "kind": "attribution",
            "prompt": "great",
            "units": [unit] * UNITS,
            "values": [numbers.random() for _ in range(UNITS)],
            "values_by_target": [[numbers.random() for _ in range(TARGETS)] for _ in range(UNITS)],
            "standard_errors": None,
            "base_value": -2.0,
            "full_value": -0.75,
            "completeness_gap": 0.0,
            "score": "logprob",
            "target": {"text": " positive", "tokens": [token] * TARGETS},
            "foil": None,
            "labels": None,
            "baseline": {"choice": "mask", "text": "<mask>", "token_ids": [3]},
            "algorithm": "exact",
            "evaluations": 2,
        }
    )
    assert len(raw) > 20_000_000
    return raw


def test_twenty_megabytes_reach_the_sdk(place: Place, valkey: redis.Redis, twenty_megabytes: bytes) -> None:
    job_id = place.submit()
    place.finish(job_id, twenty_megabytes)
    (blob,) = place.files()
    assert blob.stat().st_size > place.settings.inline_result_bytes
    keys: Any = valkey.keys("*")
    assert all(valkey.memory_usage(key) < 100_000 for key in keys)  # type: ignore[operator]
    url = place.start_service()
    expected = orjson.loads(twenty_megabytes)
    with Client(url) as client:
        result = client.jobs.result(job_id)
        assert isinstance(result, Attribution)
        assert result.values_by_target == expected["values_by_target"]
        page = client.jobs.result_page(job_id, "/values_by_target", offset=1990, limit=100)
        assert (page.total, page.has_more, page.data) == (UNITS, False, expected["values_by_target"][1990:])
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as http:
        path = f"/jobs/{job_id}/result"
        with http.stream("GET", path, headers={"Accept-Encoding": "zstd"}) as response:
            assert b"".join(response.iter_raw()) == blob.read_bytes()
        half = len(twenty_megabytes) // 2
        first = http.get(path, headers={"Range": f"bytes=0-{half - 1}"})
        again = {"Range": f"bytes={half}-", "If-Range": first.headers["etag"]}
        assert first.content + http.get(path, headers=again).content == twenty_megabytes
        head = http.head(path, headers={"Accept-Encoding": "identity"})
        assert (head.headers["content-length"], head.content) == (str(len(twenty_megabytes)), b"")
        assert http.head(path, headers={"Accept-Encoding": "gzip"}).headers["content-encoding"] == "gzip"


def test_a_worker_keeps_its_results_where_the_service_reads_them(place: Place) -> None:
    place.start(str(FAKE_WORKER), "1", EXPLAIND_INLINE_RESULT_BYTES="0")
    job_id = place.submit()
    eventually(lambda: place.store.get(job_id).state is JobState.SUCCEEDED, "the job is done")
    assert len(place.files()) == 1
    url = place.start_service()
    assert httpx.get(f"{url}/jobs/{job_id}/result", trust_env=False).json() == {"attempt": 1}


def test_a_worker_whose_store_of_results_fails_goes_on_trying(place: Place, valkey: redis.Redis) -> None:
    place.settings.data_dir.mkdir()
    place.blobs.write_text("this is where the directory should be")
    place.start(str(FAKE_WORKER), "1", EXPLAIND_INLINE_RESULT_BYTES="0")
    permits = PermitPublisher(place.settings)
    permits.start()
    job_id = place.submit()
    permits.wake("default")
    permits.stop()
    eventually(lambda: bool(valkey.zcard("explaind:blobs_dead")), "the worker has tried")
    assert place.store.get(job_id).state is JobState.RUNNING
    place.blobs.unlink()
    eventually(lambda: place.store.get(job_id).state is JobState.SUCCEEDED, "the job is done")
    assert place.store.get(job_id).attempt == 1
    assert place.store.result(job_id) == b'{"attempt": 1}'


def test_a_worker_clears_away_behind_deleted_jobs(place: Place, valkey: redis.Redis, twenty_megabytes: bytes) -> None:
    gone, kept = place.submit(), place.submit()
    place.finish(gone, twenty_megabytes)
    place.finish(kept, twenty_megabytes + b" ")
    place.store.delete(gone)
    (digest,) = valkey.zrange("explaind:blobs_dead", 0, -1)  # type: ignore[misc]
    valkey.zincrby("explaind:blobs_dead", -GRACE_MS - 1000, digest)
    assert len(place.files()) == 2
    place.start(str(FAKE_WORKER), "1")
    eventually(lambda: len(place.files()) == 1, "the dead blob is gone")
    assert place.store.result(kept) == twenty_megabytes + b" "
