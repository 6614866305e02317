"""The embedded stack: what its supervisor starts again goes on where the dead one stopped."""

import os
import signal
import sys
from pathlib import Path

import pytest

from explaind_jobs.local_stack.stack import EmbeddedStack, StackCommands
from explaind_jobs.settings import JobsSettings
from tests.support.fault_harness import FAULTY_WORKER, RATE, SHORT_WAITS, Stage
from tests.support.fault_ledger import Ledger

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

STUB_API = Path(__file__).parents[1] / "integration" / "stub_api.py"
DEADLY = b'{"wait_s": 0.3, "deadly": true}'


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobsSettings:
    for name, value in SHORT_WAITS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    monkeypatch.setenv("FAULTS_JOURNAL", str(tmp_path / "journal"))
    monkeypatch.delenv("EXPLAIND_REDIS_URL", raising=False)
    return JobsSettings(redis_url=None, data_dir=tmp_path / "d")


def commands(slots: int) -> StackCommands:
    """A worker that does what its jobs tell it, and an API that is only up."""
    return StackCommands(api=[sys.executable, str(STUB_API)], worker=[sys.executable, str(FAULTY_WORKER), str(slots)])


def url(settings: JobsSettings) -> str:
    """The stack's own server."""
    return f"unix://{settings.data_dir.resolve()}/redis/redis.sock?db=0"


def kill(stack: EmbeddedStack, name: str) -> None:
    """kill -9 one child."""
    pid = stack.pids[name]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def test_its_worker_is_killed_twice(settings: JobsSettings, tmp_path: Path, requests: list[bytes]) -> None:
    with (
        EmbeddedStack(settings, commands=commands(8)) as stack,
        Stage(tmp_path, redis_url=url(settings), workers=0) as stage,
    ):
        ledger, before = Ledger(stage), stack.pids["worker"]
        stage.log = settings.data_dir / "logs" / "worker.log"
        # Not all of them: with one worker alone, all of its suspects wait for it to be idle.
        some = requests[:150]
        acts = [(share * len(some) / RATE, lambda: kill(stack, "worker")) for share in (0.3, 0.7)]
        stage.play(some, acts)
        row = ledger.close("the embedded stack's worker kill -9 twice")
        assert stack.pids["worker"] not in {before, None}
        assert submit_and_see(stage)
    assert row.started_twice > 0


def submit_and_see(stage: Stage) -> bool:
    """Whether one more job ends."""
    assert stage.submit(b"{}") is not None
    stage.await_ends()
    return True


def test_poison_jobs_do_not_end_the_stack(settings: JobsSettings, tmp_path: Path) -> None:
    with (
        EmbeddedStack(settings, commands=commands(2)) as stack,
        Stage(tmp_path, redis_url=url(settings), workers=0) as stage,
    ):
        ledger = Ledger(stage)
        stage.log = settings.data_dir / "logs" / "worker.log"
        poison = [job_id for job_id in (stage.submit(DEADLY) for _ in range(2)) if job_id is not None]
        stage.play([b'{"wait_s": 0.5}'] * 5)
        ledger.close("2 poison jobs in the embedded stack", fail=poison)
        assert submit_and_see(stage)
        assert stack.pids["worker"] is not None
