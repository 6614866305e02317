"""Files for tests of methods: what a job keeps and reads, in memory instead of in a store."""

from datetime import UTC, datetime
from typing import Any

from explaind.contract.errors import UnknownArtifact
from explaind.contract.files import ArtifactCard


class KeptFiles:
    """Has what methods ask of `explaind_jobs.files.file_store.Files`; `kept` are the artifacts' bytes by id."""

    def __init__(self, rows: list[dict[str, Any]] | None = None) -> None:
        self.kept: dict[str, bytes] = {}
        self.table = rows or []
        self.storing = True

    def dry_run(self) -> "KeptFiles":
        """The same files, where nothing is kept."""
        files = KeptFiles(self.table)
        files.kept, files.storing = self.kept, False
        return files

    def check_room(self, size: int = 0) -> None:
        """There is always room."""

    def rows(self, dataset_id: str, *, pointer: str = "/dataset") -> list[dict[str, Any]]:
        """The one table that there is, whatever it is called."""
        return self.table

    def artifact(self, artifact_id: str, *, pointer: str = "/artifact") -> bytes:
        """The bytes of an artifact."""
        if artifact_id not in self.kept:
            raise UnknownArtifact.at(pointer, f"There is no artifact {artifact_id!r}.")
        return self.kept[artifact_id]

    def put_artifact(self, kind: str, name: str, data: bytes, *, model: str, job_id: str | None = None) -> ArtifactCard:
        """Keeps it, under ids that count up."""
        number = f"art_{len(self.kept):026d}"
        if self.storing:
            self.kept[number] = data
        return ArtifactCard(
            id=number, name=name, bytes=len(data), created_at=datetime.now(UTC), kind=kind, model=model, job=job_id
        )
