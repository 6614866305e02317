"""Substitute workers for benchmarks of the service: `python -m benchmarks.stand_ins idle|sleeping`.

`idle` sends heartbeats and claims no job; `sleeping` claims each job and sleeps for ten milliseconds.
"""

import sys
import time
import warnings

from celery.exceptions import SecurityWarning

from explaind.contract.job import JobState
from explaind_jobs.local_stack.child_process import watch_parent
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.records import Claim, Outcome
from explaind_worker.runtime.job_control import JobControl
from explaind_worker.runtime.worker import JobRunner, build_worker

SLEEP_S = 0.01
RESULT = b'{"kind":"tokenization","prompt":"a b","tokens":[],"units":[],"count":0}'


class Sleeper(JobRunner):
    """Runs every job by sleeping."""

    def run(self, claim: Claim, control: JobControl) -> Outcome:
        """Sleep, succeed."""
        time.sleep(SLEEP_S)
        return Outcome(JobState.SUCCEEDED, result=RESULT)


def main() -> None:
    """Run one of them until stopped."""
    watch_parent()
    warnings.filterwarnings("ignore", category=SecurityWarning)
    queue = "default" if sys.argv[1] == "sleeping" else "nobody"
    sys.exit(build_worker(JobsSettings(), Sleeper(), queues=[queue]).start())


if __name__ == "__main__":
    main()
