"""Context of a running job: progress and cancellation, partial result, files, cost and time."""

import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

from pydantic import BaseModel

from explaind.contract.errors import InvalidRequest, StoreUnavailable
from explaind.contract.job import Progress
from explaind_jobs.files.file_store import Files
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.scoring.value_function import ReportProgress
from explaind_worker.models.text.tokenizer import EncodedPrompt
from explaind_worker.session.phases import Phases

T = TypeVar("T")


class JobContext:
    """One job, apart from its model.

    `meter` counts its cost and `encoded` is its prompt, for the provenance. A method whose work means something before
    it is complete sets `make_partial_result`, which is called if the job is cancelled. In a `dry_run` forwards are
    counted, not made. While `noted` a method of the job is to gather the notes, and those that it calls are not.
    `kept_files` are the datasets and artifacts of the job's owner.
    """

    def __init__(self, report_progress: ReportProgress, *, dry_run: bool = False, files: Files | None = None) -> None:
        self.dry_run = dry_run
        self.noted = False
        self.kept_files = files
        self.meter = CostMeter()
        self.encoded: EncodedPrompt | None = None
        self.make_partial_result: Callable[[], BaseModel] | None = None
        self._report_progress = report_progress
        self._names: list[str] = []
        self._phases = Phases()
        self._shared: dict[Hashable, object] = {}
        self._started = time.monotonic()

    def report_progress(self, phase: str, done: int, total: int | None, unit: str) -> None:
        """Reports `done` of `total` `unit` (say, coalitions) in this phase; call it between batches.

        Raises:
            Stop: the job was cancelled, or must end for another reason.
        """
        now = self._phases.report(": ".join([*self._names, phase]), done, total, unit)
        self._report_progress(now.phase, now.done, now.total, now.unit)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Within this context every reported phase begins with `name`: "measuring faithfulness: evaluating"."""
        self._names.append(name)
        try:
            yield
        finally:
            self._names.pop()

    def shared(self, key: Hashable, make: Callable[[], T]) -> T:
        """An object shared by several parts of the job: made at the first call with `key`, kept until the job ends."""
        if key not in self._shared:
            self._shared[key] = make()
        return cast("T", self._shared[key])

    def refuse_generated(self, error: InvalidRequest) -> None:
        """Refuses the request for a text that the model generated; not in a dry run, where it is a placeholder.

        Raises:
            InvalidRequest: `error`, unless this is a dry run.
        """
        if not self.dry_run:
            raise error

    @property
    def ended(self) -> Progress:
        """The progress of the job once it has succeeded: all of its last phase."""
        return self._phases.ended()

    @property
    def files(self) -> Files:
        """The datasets and artifacts accessible to the job; a dry run writes none.

        Raises:
            StoreUnavailable: this session was made without a store.
        """
        if self.kept_files is None:
            raise StoreUnavailable(
                "Datasets and artifacts are not at hand here: this session was made without a store of files.",
                hint="Send the request to a service, whose workers have one.",
            )
        return self.kept_files.dry_run() if self.dry_run else self.kept_files

    @property
    def seconds(self) -> float:
        """Seconds since the job began."""
        return time.monotonic() - self._started
