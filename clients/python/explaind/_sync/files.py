"""The datasets and artifacts of a service, for the sync client."""

import os
from collections.abc import Iterator
from pathlib import Path

from explaind._sync.jobs import FlowDriver
from explaind.contract.files import ArtifactCard, ArtifactPage, DatasetCard, DatasetPage, DatasetPreview
from explaind.protocol import file_operations


class Datasets:
    """The datasets of the service: tables that requests name by their ids, kept until they are deleted."""

    def __init__(self, driver: FlowDriver) -> None:
        self._driver = driver

    def upload(
        self, source: str | os.PathLike[str] | bytes, *, name: str | None = None, media: str | None = None
    ) -> DatasetCard:
        """Upload a dataset; the same file again is the same dataset.

        Args:
            source: the path of a .jsonl, .csv or .parquet file, or the bytes of one.
            name: what to call it; else the file's name.
            media: what it holds ("text/csv", …), where its name does not say so; bytes are JSON lines.

        Raises:
            InvalidDataset: it cannot be read; the line is named.
            BodyTooLarge, TooManyFiles, UnsupportedMedia: it is not taken.
            OSError: there is no such file here.
        """
        file = file_operations.upload_of(source, name, media)
        return self._driver.run(file_operations.upload(self._driver.policy, file))

    def list(self, *, page_size: int = 100) -> Iterator[DatasetCard]:
        """All datasets, newest first; pages are fetched as they are needed."""
        after: str | None = None
        while True:
            page = self._driver.run(
                file_operations.page(self._driver.policy, DatasetPage, after=after, limit=page_size)
            )
            yield from page.data
            if not page.has_more or not page.data:
                return
            after = page.data[-1].id

    def get(self, dataset_id: str) -> DatasetPreview:
        """What there is to know of a dataset, and its first rows. Raises DatasetNotFound."""
        return self._driver.run(file_operations.dataset(self._driver.policy, dataset_id))

    def delete(self, dataset_id: str) -> None:
        """Delete a dataset. Raises DatasetNotFound."""
        self._driver.run(file_operations.delete_dataset(self._driver.policy, dataset_id))


class Artifacts:
    """What jobs have left on the service, such as trained lenses; kept until it is deleted."""

    def __init__(self, driver: FlowDriver) -> None:
        self._driver = driver

    def list(self, *, page_size: int = 100) -> Iterator[ArtifactCard]:
        """All artifacts, newest first; pages are fetched as they are needed."""
        after: str | None = None
        while True:
            page = self._driver.run(
                file_operations.page(self._driver.policy, ArtifactPage, after=after, limit=page_size)
            )
            yield from page.data
            if not page.has_more or not page.data:
                return
            after = page.data[-1].id

    def get(self, artifact_id: str) -> ArtifactCard:
        """What there is to know of an artifact. Raises ArtifactNotFound."""
        return self._driver.run(file_operations.artifact(self._driver.policy, artifact_id))

    def download(self, artifact_id: str, path: str | os.PathLike[str]) -> Path:
        """Write an artifact to a file, which is there as a whole or not at all; its path.

        Raises:
            ArtifactNotFound: there is none of that id.
            FileLost: its bytes are no longer there.
            OSError: the file cannot be written.
        """
        data = self._driver.run(file_operations.content(self._driver.policy, artifact_id))
        return file_operations.write_whole(path, data)

    def delete(self, artifact_id: str) -> None:
        """Delete an artifact; the job that made it stays as it is. Raises ArtifactNotFound."""
        self._driver.run(file_operations.delete_artifact(self._driver.policy, artifact_id))
