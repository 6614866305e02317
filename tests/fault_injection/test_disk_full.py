"""The disk of Redis fills up while jobs run, and is freed: nothing is lost, and everybody goes on by himself."""

import resource
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from explaind_jobs.local_stack.redis_server import find_server, start_server
from tests.support.fault_harness import RATE, Server, Stage
from tests.support.fault_ledger import Ledger

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(200),
    pytest.mark.skipif(sys.platform != "linux", reason="another process's limit is set as Linux does it"),
]

LEASE_S = 3.0
FULL_S = 5.0


class SmallDisk(Server):
    """A server whose files may not grow, for a while: its writes fail as those to a full disk do."""

    def start(self) -> None:
        """Start it, deaf to the signal that would end a process whose file grows too large."""
        binary = find_server()
        assert binary is not None
        deaf = self.folder.with_name("deaf-server")
        deaf.write_text(f"#!/bin/sh\ntrap '' XFSZ\nexec {binary} \"$@\"\n", encoding="utf-8")
        deaf.chmod(stat.S_IRWXU)
        self._process = start_server(deaf, self.folder, self.socket)

    def fill(self) -> None:
        """From now on nothing more can be written."""
        (file,) = self.folder.glob("appendonlydir/*.incr.aof")
        self._limit(file.stat().st_size)

    def free(self) -> None:
        """There is room again."""
        self._limit(resource.RLIM_INFINITY)

    def _limit(self, size: int) -> None:
        assert self._process is not None
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SmallDisk]:
    server = SmallDisk(tmp_path / "redis")
    server.start()
    yield server
    server.kill()


def test_the_disk_is_full_for_longer_than_a_lease(server: SmallDisk, tmp_path: Path, requests: list[bytes]) -> None:
    env = {"EXPLAIND_LEASE_S": str(LEASE_S), "EXPLAIND_HEARTBEAT_S": "1"}
    some = requests[:90]
    with Stage(tmp_path, redis_url=server.url, env=env) as stage:
        ledger, full = Ledger(stage), 0.3 * len(some) / RATE
        stage.play(some, [(full, server.fill), (full + FULL_S, server.free)])
        row = ledger.close(f"the disk full for {FULL_S:g} s")
        assert [worker.exits for worker in stage.workers] == [[], []], "no worker had to be started again"
    assert row.refused > 0
    assert row.started_twice == 0
    assert "(MISCONF)" in stage.log.read_text(encoding="utf-8")
