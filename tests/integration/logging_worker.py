"""A worker process whose jobs write lines: the worker's own, a library's, a thread's; settings by environment.

A job fails when its `metadata` say so: {"end": "fail"} as foreseen, {"end": "crash"} with the prompt in its words.
"""

import json
import logging
import sys
import threading

from explaind.contract.errors import PromptTooLong
from explaind.contract.job import JobState
from explaind_jobs.observability.logs import log_to_stderr
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.records import Claim, Outcome
from explaind_worker.runtime.job_control import JobControl
from explaind_worker.runtime.worker import JobRunner, build_worker


class LoggingRunner(JobRunner):
    """Says what it does."""

    def run(self, claim: Claim, control: JobControl) -> Outcome:
        request = json.loads(claim.request)
        logging.getLogger("a.library").warning("a library's line")
        thread = threading.Thread(target=logging.getLogger("a.library").warning, args=("a thread's line",))
        thread.start()
        thread.join()
        match request["metadata"].get("end"):
            case "fail":
                raise PromptTooLong.at("/prompt", request["prompt"])
            case "crash":
                raise KeyError(request["prompt"])
        return Outcome(JobState.SUCCEEDED, result=b"{}")


if __name__ == "__main__":
    settings = JobsSettings()
    log_to_stderr(settings.log_format, settings.log_level)
    sys.exit(build_worker(settings, LoggingRunner(), slots=2).start())
