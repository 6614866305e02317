"""The service under load: rate of accepted jobs, delay of progress events, overhead of a job."""

import asyncio
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import aiohttp
import httpx

from benchmarks.rows import Row, spread
from benchmarks.stand_ins import SLEEP_S
from explaind.contract.job import Progress
from explaind_jobs.local_stack.stack import EmbeddedStack, StackCommands
from explaind_jobs.redis_scripts.connection import redis_from
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import JobStore
from explaind_jobs.store.records import NewJob

REQUEST = {"model": "demo", "prompt": "3 + 4 ="}
CLIENTS, POST_S, WARM_S = 100, 10.0, 2.0
FOLLOWERS, EVENTS_A_SECOND, FOLLOW_S = 200, 1000, 10.0
SMALL_JOBS = 100


@contextmanager
def _stack(worker: str) -> Iterator[tuple[EmbeddedStack, JobsSettings]]:
    commands = StackCommands()
    stand_in = [commands.worker[0], "-m", "benchmarks.stand_ins", worker]
    with (
        tempfile.TemporaryDirectory(prefix="explaind-bench-") as folder,
        mock.patch.dict(os.environ, {"EXPLAIND_MAX_QUEUED": "1000000", "PYTHONPATH": os.pathsep.join(_paths())}),
    ):
        settings = JobsSettings(redis_url=None, data_dir=Path(folder))
        with EmbeddedStack(settings, commands=StackCommands(api=commands.api, worker=stand_in)) as stack:
            socket = Path(folder) / "redis" / "redis.sock"
            yield stack, settings.model_copy(update={"redis_url": f"unix://{socket}?db=0"})


def _paths() -> list[str]:
    return [str(Path.cwd()), *filter(None, [os.environ.get("PYTHONPATH")])]


def post_rate() -> Row:
    """POST /infer/tokenize by a hundred concurrent clients; no worker takes the jobs meanwhile."""
    with _stack("idle") as (stack, _):
        asyncio.run(_post_for(stack.url, WARM_S))
        latencies = asyncio.run(_post_for(stack.url, POST_S))
    figures = {**_percentiles(latencies), "clients": CLIENTS, "per_second": round(len(latencies) / POST_S)}
    return Row("post_rate", "demo", ours_s=figures["p50"], figures=figures)


async def _post_for(url: str, seconds: float) -> list[float]:
    latencies: list[float] = []
    until = time.perf_counter() + seconds

    async def client(session: aiohttp.ClientSession) -> None:
        while (began := time.perf_counter()) < until:
            async with session.post("/infer/tokenize", json=REQUEST) as response:
                await response.read()
                if response.status != 202:
                    raise RuntimeError(f"status {response.status}")
            latencies.append(time.perf_counter() - began)

    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(client(session) for _ in range(CLIENTS)))
    return latencies


def sse_fanout() -> Row:
    """A thousand progress events a second to two hundred clients, each with a separate job."""
    with _stack("idle") as (stack, settings), redis_from(settings) as client:
        store = JobStore(client, settings)
        claims = []
        for _ in range(FOLLOWERS):
            store.create(NewJob("infer/tokenize", "demo", "bench", b"{}"))
            claim = store.claim("bench", ["bench"])
            if claim is None:
                raise RuntimeError("a job was not claimed")
            claims.append((claim.id, claim.attempt))
        stop = threading.Event()
        sent: list[int] = []
        ready = threading.Event()
        publisher = threading.Thread(target=_publish, args=(store, claims, ready, stop, sent))
        publisher.start()
        try:
            latencies = asyncio.run(_follow_all(stack.url, [job_id for job_id, _ in claims], ready))
        finally:
            stop.set()
            ready.set()
            publisher.join()
    figures = {
        **_percentiles(latencies),
        "clients": FOLLOWERS,
        "per_second": round(len(latencies) / FOLLOW_S),
        "sent_per_second": round(sum(sent) / max(1, len(sent))),
    }
    return Row("sse_fanout", "demo", ours_s=figures["p50"], figures=figures)


def _publish(
    store: JobStore, claims: list[tuple[str, int]], ready: threading.Event, stop: threading.Event, sent: list[int]
) -> None:
    """Publishes progress of every job in turn, with its time of sending as the value."""
    ready.wait()
    began, count, second = time.perf_counter(), 0, 0
    while not stop.is_set():
        job_id, attempt = claims[count % len(claims)]
        store.progress(job_id, attempt, Progress(phase=repr(time.time()), done=count, total=None, unit="events"))
        count += 1
        if int(time.perf_counter() - began) > second:
            second += 1
            sent.append(count - sum(sent))
        time.sleep(max(0.0, began + count / EVENTS_A_SECOND - time.perf_counter()))


async def _follow_all(url: str, job_ids: list[str], ready: threading.Event) -> list[float]:
    latencies: list[float] = []
    connected = asyncio.Semaphore(0)

    async def follower(session: aiohttp.ClientSession, job_id: str) -> None:
        async with session.get(f"/jobs/{job_id}/events") as response:
            first = True
            async for data in _progress_frames(response):
                if first:
                    first = False
                    connected.release()
                elif "phase" in data:
                    latencies.append(time.time() - float(data["phase"]))

    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        tasks = [asyncio.create_task(follower(session, job_id)) for job_id in job_ids]
        for _ in tasks:
            await connected.acquire()
        ready.set()
        await asyncio.sleep(1.0)
        latencies.clear()
        await asyncio.sleep(FOLLOW_S)
        found = list(latencies)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return found


async def _progress_frames(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    async for line in response.content:
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


def overhead_of_a_small_job() -> Row:
    """A job of 10 ms: from POST with Prefer: wait to its response, minus the 10 ms."""
    waits = []
    with _stack("sleeping") as (stack, _), httpx.Client(base_url=stack.url, trust_env=False) as http:
        for number in range(SMALL_JOBS + 10):
            began = time.perf_counter()
            request = {**REQUEST, "metadata": {"run": str(number)}}
            answer = http.post("/infer/tokenize", json=request, headers={"Prefer": "wait=10"})
            if answer.status_code != 200:
                raise RuntimeError(f"status {answer.status_code}")
            waits.append(time.perf_counter() - began - SLEEP_S)
            time.sleep(0.02)
    figures = {**spread(waits[10:]), **_percentiles(waits[10:])}
    return Row("overhead_of_a_small_job", "demo", ours_s=figures["p50"], figures=figures)


def _percentiles(values: list[float]) -> dict[str, Any]:
    cuts = statistics.quantiles(values, n=100)
    return {"p50": round(cuts[49], 5), "p99": round(cuts[98], 5), "max": round(max(values), 5)}


CASES = {
    "post_rate": post_rate,
    "sse_fanout": sse_fanout,
    "overhead_of_a_small_job": overhead_of_a_small_job,
}
