"""Session of one job: its context and its access to the model."""

from types import TracebackType
from typing import Self

from explaind_jobs.catalogue import ModelEntry
from explaind_jobs.files.file_store import Files
from explaind_worker.engine.scoring.value_function import ReportProgress
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.session.job_context import JobContext
from explaind_worker.session.model_access import ModelAccess


class Session:
    """Argument of a method's `run`: `job` (progress, files, cost) and `model_access` (tokenizer, memory, weights).

    The model stays in memory from its first use until the session is closed; use it as a context.
    """

    def __init__(
        self,
        entry: ModelEntry,
        pool: ModelPool,
        report_progress: ReportProgress,
        *,
        dry_run: bool = False,
        files: Files | None = None,
    ) -> None:
        self.job = JobContext(report_progress, dry_run=dry_run, files=files)
        self.model_access = ModelAccess(entry, pool, self.job.report_progress, dry_run=dry_run)

    def dry_run(self) -> "Session":
        """A session on the same model, with the same owner's files, in which forwards are counted, not run."""
        access, job = self.model_access, self.job
        return Session(access.entry, access.pool, job.report_progress, dry_run=True, files=job.kept_files)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the job's use of its model, which may then be evicted."""
        self.model_access.close()
