"""A job's control for tests that run methods without a worker."""

from dataclasses import dataclass, field

from tests.support.memory_files import KeptFiles


@dataclass
class QuietControl:
    """Keeps the phases that are reported; files are kept in memory."""

    files: KeptFiles = field(default_factory=KeptFiles)
    phases: list[str] = field(default_factory=list)

    def report_progress(self, phase: str, done: int, total: int | None, unit: str) -> None:
        self.phases.append(phase)
