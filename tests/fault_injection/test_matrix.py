"""The fault matrix: while jobs come in, something breaks; every job that was accepted ends, once."""

import json
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import redis

from tests.support.fault_harness import RATE, Server, Stage
from tests.support.fault_ledger import Ledger

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]


def at(requests: Sequence[bytes], share: float) -> float:
    """When that share of the jobs has been sent, in seconds."""
    return share * len(requests) / RATE


def test_nothing_breaks(server: Server, tmp_path: Path, requests: list[bytes]) -> None:
    with Stage(tmp_path, redis_url=server.url) as stage:
        ledger = Ledger(stage)
        stage.play(requests)
        row = ledger.close("none")
    assert (row.refused, row.started_twice, row.fenced) == (0, 0, 0)


@pytest.mark.parametrize("appendfsync", ["everysec", "always"])
def test_redis_is_killed(tmp_path: Path, requests: list[bytes], appendfsync: str) -> None:
    server = Server(tmp_path / "redis", "always" if appendfsync == "always" else "everysec")
    server.start()
    try:
        with Stage(tmp_path, redis_url=server.url) as stage:
            ledger, killed = Ledger(stage), at(requests, 0.4)
            stage.play(requests, [(killed, server.kill), (killed + 1, server.start)])
            row = ledger.close(f"Redis kill -9, appendfsync {appendfsync}")
    finally:
        server.kill()
    assert row.refused > 0


def test_all_connections_are_cut_three_times(server: Server, tmp_path: Path, requests: list[bytes]) -> None:
    cuts = []

    def cut() -> None:
        with redis.Redis.from_url(server.url) as client:
            for kind in ("normal", "pubsub"):
                cuts.append(client.client_kill_filter(_type=kind, skipme=True))

    with Stage(tmp_path, redis_url=server.url) as stage:
        ledger = Ledger(stage)
        stage.play(requests, [(at(requests, share), cut) for share in (0.3, 0.5, 0.7)])
        ledger.close("all connections cut, 3 times")
    assert all(cuts), f"nobody was connected: {cuts}"


def test_each_worker_is_killed_once(server: Server, tmp_path: Path, requests: list[bytes]) -> None:
    with Stage(tmp_path, redis_url=server.url) as stage:
        ledger, (first, second) = Ledger(stage), stage.workers
        stage.play(requests, [(at(requests, 0.3), first.kill), (at(requests, 0.6), second.kill)])
        row = ledger.close("each worker kill -9 once")
        assert [worker.exits for worker in stage.workers] == [[-signal.SIGKILL], [-signal.SIGKILL]]
    assert row.started_twice > 0


def test_the_api_dies_before_it_has_rung(server: Server, tmp_path: Path, requests: list[bytes]) -> None:
    with Stage(tmp_path, redis_url=server.url) as stage:
        ledger = Ledger(stage)
        stage.play(requests, silent=10)
        ledger.close("every 10th permit never sent")


def test_redis_is_away_for_long(server: Server, tmp_path: Path, requests: list[bytes]) -> None:
    with Stage(tmp_path, redis_url=server.url) as stage:
        ledger, gone = Ledger(stage), at(requests, 0.4)
        stage.play(requests, [(gone, server.kill), (gone + 12, server.start)])
        row = ledger.close("Redis down 12 s")
        # The publisher's own connections died as well; it must not need a new process to ring again.
        for worker in stage.workers:
            worker.restarting = False
            worker.kill()
        stage.permits.wake("default")
        permits = f"{stage.settings.key_prefix}explaind.default"
        stage.until(lambda: stage.client.llen(permits) == 1, "the publisher rings")
    assert row.refused > 0


def test_a_worker_is_frozen_past_its_lease(server: Server, tmp_path: Path, requests: list[bytes]) -> None:
    # Without checkpoints: a frozen attempt learns nothing of what happened, and computes to its end.
    unaware = [json.dumps({"wait_s": json.loads(request)["wait_s"]}).encode() for request in requests]
    with Stage(tmp_path, redis_url=server.url) as stage:
        ledger, frozen = Ledger(stage), stage.workers[0]
        since = time.monotonic() + at(requests, 0.4)
        stage.play(unaware, [(at(requests, 0.4), frozen.freeze)])
        stage.until(lambda: time.monotonic() > since + 12 and began_again(ledger), "another worker took its jobs")
        frozen.thaw()
        row = ledger.close("a worker frozen 12 s")
        assert frozen.exits == []
    assert row.fenced >= row.completed_twice > 0


def began_again(ledger: Ledger) -> bool:
    """Whether a job that was begun once was begun once more."""
    starts = [line["job"] for line in ledger.journal() if line["what"] == "start"]
    return len(starts) > len(set(starts))


def test_workers_are_replaced_one_after_the_other(server: Server, tmp_path: Path, requests: list[bytes]) -> None:
    with Stage(tmp_path, redis_url=server.url) as stage:
        ledger = Ledger(stage)
        rolls = [(2.0 * (turn + 1), stage.workers[turn % 2].roll) for turn in range(6)]
        stage.play(requests, rolls)
        row = ledger.close("6 rolling restarts")
        assert [worker.has_left() for worker in stage.workers] == [[0, 0, 0], [0, 0, 0]]
        records = [stage.client.hget(f"explaind:job:{job_id}", "losses") for job_id in stage.known()]
    assert (row.refused, row.completed_twice, row.fenced) == (0, 0, 0)
    assert set(records) == {b"0"}, "a worker that leaves loses nothing"
