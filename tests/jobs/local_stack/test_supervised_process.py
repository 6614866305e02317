"""A supervised child: restarted with growing pauses, given up in the end."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from explaind_jobs.local_stack.supervised_process import MAX_PAUSE_S, MAX_QUICK_DEATHS, SupervisedProcess


class Clock:
    """Stands until it is moved."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("explaind_jobs.local_stack.supervised_process.time", clock)
    return clock


def child_that(code: str, folder: Path) -> SupervisedProcess:
    log = folder / "child.log"

    def spawn() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            process = subprocess.Popen([sys.executable, "-c", code], stdout=output, stderr=output)
        if "exit" in code:
            process.wait()
        return process

    return SupervisedProcess("child", spawn, log)


def test_one_that_keeps_dying_is_given_up(tmp_path: Path, clock: Clock) -> None:
    child = child_that("import sys; print('no luck'); sys.exit(3)", tmp_path)
    child.start()
    pauses = []
    while not child.given_up:
        assert child.tend()
        died = clock.now
        while not child.given_up and child._restart_at is not None:
            clock.now += 0.5
            child.tend()
        pauses.append(clock.now - died)
    assert len(pauses) == MAX_QUICK_DEATHS
    assert pauses[:4] == [0.5, 1.0, 2.0, 4.0]
    assert "exit status 3" in child.last_words()
    assert "no luck" in child.last_words()


def test_one_that_never_came_up_is_not_said_to_run(tmp_path: Path) -> None:
    assert "the child did not start" in child_that("", tmp_path).last_words()


def test_one_that_ran_for_long_is_restarted_at_once(tmp_path: Path, clock: Clock) -> None:
    child = child_that("import sys; sys.exit(0)", tmp_path)
    for _ in range(MAX_QUICK_DEATHS + 1):
        child.start()
        clock.now += 60
        assert child.tend()
    first = child.pid
    child.tend()
    assert child.pid != first
    assert not child.given_up


@pytest.mark.parametrize(
    "code", ["import os; os.kill(os.getpid(), 9)  # exit", "import sys; sys.exit(75)", "import sys; sys.exit(76)"]
)
def test_one_that_its_jobs_bring_down_is_never_given_up(tmp_path: Path, clock: Clock, code: str) -> None:
    child = child_that(code, tmp_path)
    child.start()
    pids = set()
    for _ in range(2 * MAX_QUICK_DEATHS):
        assert child.tend()
        clock.now += MAX_PAUSE_S
        child.tend()
        pids.add(child.pid)
    assert not child.given_up
    assert len(pids) == 2 * MAX_QUICK_DEATHS


def test_one_that_was_killed_and_cannot_be_started_again_is_given_up(tmp_path: Path, clock: Clock) -> None:
    spawned: list[subprocess.Popen[bytes]] = []

    def spawn() -> subprocess.Popen[bytes]:
        if spawned:
            raise OSError("no room on the disk")
        spawned.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]))
        return spawned[0]

    child = SupervisedProcess("child", spawn, tmp_path / "child.log")
    child.start()
    child.kill()
    for _ in range(3 * MAX_QUICK_DEATHS):
        with suppress(OSError):
            child.tend()
        clock.now += MAX_PAUSE_S
    assert child.given_up


def test_one_that_will_not_end_is_made_to(tmp_path: Path) -> None:
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)"
    code = f"import signal, time; {deaf}; time.sleep(60)"
    child = child_that(code, tmp_path)
    child.start()
    while b"deaf" not in (tmp_path / "child.log").read_bytes():
        assert child.alive
    child.stop(0.05)
    assert not child.alive
    assert "-9" in child.last_words()
