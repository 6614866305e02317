"""Small jobs by fifty clients, ten thousand in the long form: each ends once, and neither API nor worker grows.

EXPLAIND_SOAK_JOBS says how many; EXPLAIND_SOAK_JSON names the file that the figures go to.
"""

import asyncio
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from explaind_jobs.local_stack.stack import EmbeddedStack
from explaind_jobs.settings import JobsSettings
from tests.support import LONG, load_clients
from tests.support.process_stats import Watch
from tests.support.store_invariants import inconsistencies, job_records, places_in_use

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1500)]

JOBS = int(os.environ.get("EXPLAIND_SOAK_JOBS", "10000" if LONG else "2000"))
CLIENTS = 50
WATCHED = ("API", "worker")
# How much of the second quarter the last may be above it.
GROWTH, GROWTH_MB = 1.10, 16.0
POINTS = 60


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobsSettings]:
    monkeypatch.delenv("EXPLAIND_REDIS_URL", raising=False)
    with tempfile.TemporaryDirectory(prefix="explaind-soak-") as folder:  # a socket's path must be short
        yield JobsSettings(redis_url=None, data_dir=Path(folder))


@pytest.fixture
def stack(settings: JobsSettings) -> Iterator[EmbeddedStack]:
    with EmbeddedStack(settings) as stack:
        yield stack


@pytest.fixture
def client(stack: EmbeddedStack) -> Iterator[redis.Redis]:
    with redis.Redis(unix_socket_path=str(stack.data_dir / "redis" / "redis.sock")) as client:
        yield client


def test_many_jobs(stack: EmbeddedStack, client: redis.Redis) -> None:
    pids = stack.pids
    load = os.getloadavg()[0]
    with Watch({name: pids[name] or 0 for name in WATCHED}) as watch:
        began = time.monotonic()
        tally = asyncio.run(load_clients.play(stack.url, CLIENTS, JOBS))
        seconds = time.monotonic() - began
    _write(tally, watch, seconds, load)
    assert stack.pids == pids, "a part was started again meanwhile"
    assert tally.wrong == []
    assert len(tally.accepted) == JOBS
    records = job_records(client)
    assert records.keys() == tally.accepted, "jobs that were lost, or that nobody was told of"
    assert {record["state"] for record in records.values()} <= load_clients.ENDS
    # Each has exactly one end among its events, and no queue, lease or set names any of them still.
    assert inconsistencies(client) == []
    assert places_in_use(client) == []
    for name in WATCHED:
        for what, allowed in (("rss_mb", GROWTH_MB), ("fds", 10), ("threads", 4)):
            before, after = watch.quarter(name, 2, what), watch.quarter(name, 4, what)
            factor = GROWTH if what == "rss_mb" else 1.0
            assert after <= before * factor + allowed, f"{what} of the {name}: {before} and at last {after}"


def _write(tally: load_clients.Tally, watch: Watch, seconds: float, load: float) -> None:
    """The figures of this run, where they are wanted."""
    named = os.environ.get("EXPLAIND_SOAK_JSON")
    if not named:
        return
    figures = {
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()},
        "load_before": round(load, 2),
        "jobs": len(tally.accepted),
        "clients": CLIENTS,
        "seconds": round(seconds, 1),
        "did": dict(sorted(tally.did.items())),
        "ended": dict(sorted(tally.ended.items())),
        "wrong": len(tally.wrong),
        "quarters": {
            name: {
                what: [watch.quarter(name, number, what) for number in (2, 4)] for what in ("rss_mb", "fds", "threads")
            }
            for name in WATCHED
        },
        "curves": watch.curves(POINTS),
    }
    Path(named).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
