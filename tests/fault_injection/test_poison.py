"""Jobs that harm their worker, and what becomes of the innocents beside them."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from explaind_worker.runtime.supervisor import EXIT_HUNG
from tests.support.fault_harness import Server, Stage
from tests.support.fault_ledger import Ledger
from tests.support.store_invariants import job_records

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

INNOCENT = b'{"wait_s": 0.5, "steps": 5}'
DEADLY = b'{"wait_s": 0.3, "deadly": true}'
HUNG = b'{"wait_s": 1000}'
DEPTH = 16


def losses(stage: Stage) -> dict[str, int]:
    """How often the worker of each job was lost."""
    return {job_id: int(job["losses"]) for job_id, job in job_records(stage.client).items()}


def error_code(stage: Stage, job_id: str) -> str | None:
    """Why a job failed."""
    error = stage.store.get(job_id).error
    return error.code if error is not None else None


def submitted(stage: Stage, request: bytes, timeout_s: float | None = None) -> str:
    """The id of a job that nothing keeps from being accepted."""
    job_id = stage.submit(request, timeout_s=timeout_s)
    assert job_id is not None
    return job_id


def test_a_poison_job_fails_alone(server: Server, tmp_path: Path) -> None:
    with Stage(tmp_path, redis_url=server.url, slots=3) as stage:
        ledger = Ledger(stage)
        poison = submitted(stage, DEADLY)
        stage.play([INNOCENT] * 20)
        ledger.close("a poison job among 20", fail=[poison])
        lost = losses(stage)
        assert error_code(stage, poison) == "worker_lost"
        assert lost.pop(poison) == stage.settings.max_losses
        assert max(lost.values()) <= 1, "quarantine: an innocent is lost once at most"
        assert sorted(code for worker in stage.workers for code in worker.exits) == [-signal.SIGKILL] * 3
        assert ran_alone(ledger, poison)


def ran_alone(ledger: Ledger, poison: str) -> bool:
    """Whether no other job was begun or computed in the process of a suspect poison, from its start on."""
    journal = ledger.journal()
    starts = [(at, line) for at, line in enumerate(journal) if line["job"] == poison and line["suspect"]]
    return bool(starts) and all(later["pid"] != line["pid"] for at, line in starts for later in journal[at + 1 :])


def test_hung_jobs_cost_their_worker_and_nobody_else(server: Server, tmp_path: Path) -> None:
    with Stage(tmp_path, redis_url=server.url, env={"EXPLAIND_DEADLINE_GRACE_S": "1"}) as stage:
        ledger, hung = Ledger(stage), []
        acts = [(when, lambda: hung.append(submitted(stage, HUNG, timeout_s=1.0))) for when in (0.2, 1.2)]
        stage.play([INNOCENT] * 100, acts)
        ledger.close("2 hung jobs among 100", fail=hung)
        assert [error_code(stage, job_id) for job_id in hung] == ["deadline_exceeded"] * 2
        assert set(losses(stage).values()) == {0}, "the watchdog hands the others back unharmed"
        exits = [code for worker in stage.workers for code in worker.exits]
        assert exits
        assert set(exits) == {EXIT_HUNG}


def keep_busy(stage: Stage, until: Callable[[], bool], what: str) -> None:
    """Never let the queue become short until something has come true."""

    def so_far() -> bool:
        while stage.store.queued() < DEPTH:
            submitted(stage, INNOCENT)
        return until()

    stage.until(so_far, what)


def suspects_of_a_lost_worker(stage: Stage) -> list[str]:
    """Jobs that wait for an idle worker, since theirs was killed and never came back."""
    victim = stage.workers[0]
    keep_busy(stage, lambda: stage.client.zcard("explaind:leases") >= 4 * len(stage.workers), "all slots are taken")
    name = {worker.name for worker in stage.store.workers()}
    victim.restarting = False
    victim.kill()
    keep_busy(stage, lambda: bool(suspects(stage)), f"jobs of the lost one of {name} are suspects")
    return suspects(stage)


def suspects(stage: Stage) -> list[str]:
    """Who waits alone."""
    return [job_id.decode() for job_id in stage.client.zrange("explaind:suspects:default", 0, -1)]  # type: ignore[union-attr]


def test_suspects_run_although_no_worker_is_ever_idle(server: Server, tmp_path: Path) -> None:
    with Stage(tmp_path, redis_url=server.url) as stage:
        ledger = Ledger(stage)
        waiting = suspects_of_a_lost_worker(stage)
        assert waiting
        keep_busy(stage, lambda: all(stage.state(job_id).terminal for job_id in waiting), "the suspects ran")
        assert stage.store.queued() > 0, "the load never ceased"
        ledger.close("suspects under constant load")


def test_the_worker_reserved_for_a_suspect_dies(server: Server, tmp_path: Path) -> None:
    with Stage(tmp_path, redis_url=server.url, workers=3) as stage:
        ledger = Ledger(stage)
        waiting = suspects_of_a_lost_worker(stage)
        keep_busy(stage, lambda: stage.client.exists("explaind:reserved:default") == 1, "a worker is reserved")
        reserved = stage.client.get("explaind:reserved:default")
        assert isinstance(reserved, bytes)
        killed = [worker for worker in stage.workers[1:] if has_name(worker.pid, reserved.decode())]
        for worker in killed:
            worker.restarting = False
            worker.kill()
        keep_busy(stage, lambda: all(stage.state(job_id).terminal for job_id in waiting), "the suspects ran")
        ledger.close("the worker reserved for suspects kill -9")
        assert len(killed) == 1


def has_name(pid: int, name: str) -> bool:
    """Whether a process holds the lock that makes it the worker of that name."""
    number = name.split("-")[-2]
    return any(file.readlink().name == f"worker-{number}.lock" for file in Path(f"/proc/{pid}/fd").iterdir())
