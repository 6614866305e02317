"""Workers for measuring the service: `python -m benchmarks.stand_ins idle|sleeping`.

`idle` beats and takes no job; `sleeping` takes each and sleeps for ten milliseconds.
"""

import sys
import time
import warnings

from celery.exceptions import SecurityWarning

from explaind.contract.job import JobState
from explaind_jobs.lifeline import watch_parent
from explaind_jobs.record import Claim, Outcome
from explaind_jobs.settings import JobsSettings
from explaind_worker.control import JobControl
from explaind_worker.models.pool_stats import PoolStats
from explaind_worker.tasks import build_worker

SLEEP_S = 0.01
RESULT = b'{"kind":"tokenization","prompt":"a b","tokens":[],"units":[],"count":0}'


class Sleeper:
    """Does every job by sleeping."""

    def run(self, claim: Claim, control: JobControl) -> Outcome:
        """Sleep, succeed."""
        time.sleep(SLEEP_S)
        return Outcome(JobState.SUCCEEDED, result=RESULT)

    def resident(self) -> list[str]:
        """Nothing is loaded."""
        return []

    def loading(self) -> list[str]:
        """Nothing is on its way."""
        return []

    def revisions(self) -> dict[str, str]:
        """Nothing is loaded."""
        return {}

    def memory(self) -> PoolStats:
        """Nothing is loaded."""
        return PoolStats()

    def warm(self) -> None:
        """Nothing to prepare."""


def main() -> None:
    """Run one of them until told to stop."""
    watch_parent()
    warnings.filterwarnings("ignore", category=SecurityWarning)
    queue = "default" if sys.argv[1] == "sleeping" else "nobody"
    sys.exit(build_worker(JobsSettings(), Sleeper(), queues=[queue]).start())


if __name__ == "__main__":
    main()
