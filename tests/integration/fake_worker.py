"""A worker process around a runner that computes nothing: `fake_worker.py SLOTS`, settings by environment.

What a job does is its request: `{"steps": n, "step_s": s}` makes n checkpoints; `{"hang_s": s}` makes none;
`{"breaks_device": n}` finds the device broken on its first n attempts; `{"dataset": id}` leaves the number of its rows
as an artifact.
"""

import json
import sys
import threading

from explaind.contract.job import JobState
from explaind_jobs.observability.logs import log_to_stderr
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.records import Claim, Outcome
from explaind_worker.models.device_errors import DevicePoisoned
from explaind_worker.runtime.job_control import JobControl
from explaind_worker.runtime.worker import JobRunner, build_worker


class FakeRunner(JobRunner):
    """Waits as long as it is told to."""

    def run(self, claim: Claim, control: JobControl) -> Outcome:
        request = json.loads(claim.request)
        wait = threading.Event().wait
        wait(request.get("hang_s", 0))
        if claim.attempt <= request.get("breaks_device", 0):
            raise DevicePoisoned("The device is broken for this process.")
        steps = request.get("steps", 0)
        for step in range(steps):
            control.report_progress("waiting", step, steps, "steps")
            wait(request.get("step_s", 0))
        result = {"attempt": claim.attempt}
        if "dataset" in request:
            assert control.files is not None
            rows = control.files.rows(request["dataset"], pointer="/questions/dataset")
            left = control.files.put_artifact("count", "count.txt", str(len(rows)).encode(), model=claim.model)
            result["artifact"] = left.id
        return Outcome(JobState.SUCCEEDED, result=json.dumps(result).encode())

    def resident(self) -> list[str]:
        return ["fake"]


if __name__ == "__main__":
    settings = JobsSettings()
    log_to_stderr(settings.log_format, settings.log_level)
    sys.exit(build_worker(settings, FakeRunner(), slots=int(sys.argv[1])).start())
