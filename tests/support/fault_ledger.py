"""What came of the jobs of a stage: counted from the workers' journal and from the store, which must agree."""

import json
import os
import re
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from explaind.contract.job import JobState
from explaind_jobs.store.permits import permits_key
from tests.support.fault_harness import Stage
from tests.support.store_invariants import inconsistencies, job_records, places_in_use

ROWS_VARIABLE = "EXPLAIND_FAULTS_JSON"
TOO_LATE = re.compile(r"attempt \d+ came too late")


@dataclass(frozen=True)
class Row:
    """One cell of the matrix, in numbers."""

    cell: str
    accepted: int
    refused: int
    lost: int
    started_twice: int
    completed_twice: int
    finished_once: int
    fenced: int
    seconds: float


class Ledger:
    """Closes a cell: waits for the end, proves that nothing is wrong, and writes down the row."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._since = time.monotonic()

    def close(self, cell: str, *, fail: Collection[str] = ()) -> Row:
        """Wait for every job, and hold what is promised of each; `fail` are the jobs that shall not succeed."""
        stage = self._stage
        stage.await_ends()
        seconds = time.monotonic() - self._since
        self._await_idle_workers()
        row = self._row(cell, round(seconds, 1))
        assert row.lost == 0, self.lost()
        self._check_every_job(fail)
        assert inconsistencies(stage.client) == []
        assert places_in_use(stage.client) == []
        self._check_workers_go_on()
        _append(row)
        return row

    def journal(self) -> list[dict[str, Any]]:
        """Every start and every end of an attempt that the workers wrote down."""
        return [json.loads(line) for line in self._stage.journal.read_text(encoding="ascii").splitlines()]

    def lost(self) -> list[str]:
        """Accepted jobs that the store does not know to have ended."""
        records = job_records(self._stage.client)
        ended = {job_id for job_id, job in records.items() if JobState(job["state"]).terminal}
        return [job_id for job_id in self._stage.feed.accepted if job_id not in ended]

    def _row(self, cell: str, seconds: float) -> Row:
        journal, feed = self.journal(), self._stage.feed
        starts = Counter(line["job"] for line in journal if line["what"] == "start")
        ends = Counter(line["job"] for line in journal if line["what"] == "end")
        log = self._stage.log.read_text(encoding="utf-8", errors="replace")
        return Row(
            cell=cell,
            accepted=len(feed.accepted),
            refused=feed.refused,
            lost=len(self.lost()),
            started_twice=sum(count > 1 for count in starts.values()),
            completed_twice=sum(count > 1 for count in ends.values()),
            finished_once=sum(len(self._ends(job_id)) == 1 for job_id in feed.accepted),
            fenced=len(TOO_LATE.findall(log)),
            seconds=seconds,
        )

    def _check_every_job(self, fail: Collection[str]) -> None:
        computed = {(line["job"], line["attempt"]) for line in self.journal() if line["what"] == "end"}
        for job_id in self._stage.known():
            job = self._stage.store.get(job_id)
            assert len(self._ends(job_id)) == 1, f"{job_id} ended {self._ends(job_id)}"
            if job_id in fail:
                assert job.state is JobState.FAILED, f"{job_id} is {job.state}"
                continue
            assert job.state is JobState.SUCCEEDED, f"{job_id} is {job.state}: {job.error}"
            result = self._stage.store.result(job_id)
            assert result is not None, f"{job_id} has no result"
            # The newest attempt is the one whose result counts, and it was computed to its end.
            assert json.loads(result) == {"attempt": job.attempt}
            assert (job_id, job.attempt) in computed

    def _ends(self, job_id: str) -> list[str]:
        events = self._stage.client.xrange(f"{self._stage.settings.key_prefix}events:{job_id}")
        return [json.loads(entry[b"data"])["state"] for _, entry in events if entry[b"event"] == b"end"]  # type: ignore[union-attr]

    def _await_idle_workers(self) -> None:
        """A late finish may still be on its way from a worker that was away."""
        stage = self._stage
        permits = permits_key(stage.settings, "default")
        stage.until(lambda: stage.client.llen(permits) == 0, "every permit is taken")
        stage.until(lambda: all(worker.has_left() is not None for worker in stage.workers), "old workers leave")

    def _check_workers_go_on(self) -> None:
        """Every worker that lives takes jobs: rounds of them are sent until each has had one."""
        stage, seen = self._stage, len(self.journal())
        while not self._pids() <= {line["pid"] for line in self.journal()[seen:]}:
            round_of_jobs = [stage.submit(b'{"wait_s": 0.2}') for _ in range(8)]
            assert None not in round_of_jobs
            stage.await_ends()
        assert self.lost() == []

    def _pids(self) -> set[int]:
        return {worker.pid for worker in self._stage.workers if worker.restarting}


def _append(row: Row) -> None:
    """Add the row to the file of rows, when one is wanted."""
    named = os.environ.get(ROWS_VARIABLE)
    if not named:
        return
    path = Path(named)
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    path.write_text(json.dumps([*rows, asdict(row)], indent=1) + "\n", encoding="utf-8")
