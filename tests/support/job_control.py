"""A job's control for tests that run methods without a worker."""

from dataclasses import dataclass, field

from explaind.contract.job import Progress
from tests.support.memory_files import KeptFiles


@dataclass
class QuietControl:
    """Keeps what is reported, as progress and by phase; files are kept in memory."""

    files: KeptFiles = field(default_factory=KeptFiles)
    phases: list[str] = field(default_factory=list)
    reports: list[Progress] = field(default_factory=list)

    def report_progress(self, phase: str, done: int, total: int | None, unit: str) -> None:
        self.phases.append(phase)
        self.reports.append(Progress(phase=phase, done=done, total=total, unit=unit))
