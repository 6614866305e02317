"""A worker process whose jobs do to it what they are told to: `faulty_worker.py SLOTS`, settings by environment.

A request is `{"wait_s": seconds, "steps": n, "deadly": bool}`: it takes so long, in n steps with progress reported
after each (0: without any, as a call into a library would), and then ends, or ends its process. Every attempt is
written down, when it starts and when it has been computed, in the file that FAULTS_JOURNAL names.
"""

import json
import os
import signal
import sys
import time
import warnings

from celery.exceptions import SecurityWarning

from explaind.contract.job import JobState
from explaind_jobs.local_stack.child_process import watch_parent
from explaind_jobs.observability.logs import log_to_stderr
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.records import Claim, Outcome
from explaind_worker.runtime.job_control import JobControl
from explaind_worker.runtime.worker import JobRunner, build_worker

USUAL_S = 0.1


class FaultyRunner(JobRunner):
    """Waits, or dies, and keeps a journal that no crash can lose."""

    def __init__(self, journal: str) -> None:
        self._journal = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def run(self, claim: Claim, control: JobControl) -> Outcome:
        request = json.loads(claim.request)
        wait_s, steps = request.get("wait_s", USUAL_S), request.get("steps", 0)
        self._note("start", claim)
        for step in range(steps):
            time.sleep(wait_s / steps)
            control.report_progress("waiting", step + 1, steps, "steps")
        if not steps:
            time.sleep(wait_s)
        if request.get("deadly"):
            os.kill(os.getpid(), signal.SIGKILL)
        self._note("end", claim)
        return Outcome(JobState.SUCCEEDED, result=json.dumps({"attempt": claim.attempt}).encode())

    def resident(self) -> list[str]:
        return ["demo"]

    def _note(self, what: str, claim: Claim) -> None:
        line = {"what": what, "job": claim.id, "attempt": claim.attempt, "pid": os.getpid(), "suspect": claim.suspect}
        os.write(self._journal, json.dumps({**line, "at": time.time()}).encode() + b"\n")


if __name__ == "__main__":
    watch_parent()
    log_to_stderr()
    warnings.filterwarnings("ignore", category=SecurityWarning)
    worker = build_worker(JobsSettings(), FaultyRunner(os.environ["FAULTS_JOURNAL"]), slots=int(sys.argv[1]))
    sys.exit(worker.start())
