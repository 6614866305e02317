# Generated from clients/python/explaind/_async/files.py by `make generate`.
"""The datasets and artifacts of a service, for the sync client."""

import os
from collections.abc import Iterator
from pathlib import Path

from explaind._sync.concurrency import run_in_thread
from explaind._sync.driver import FlowDriver
from explaind.contract.files import ArtifactCard, DatasetCard, DatasetPreview
from explaind.protocol.file_operations import (
    Source,
    delete_artifact,
    delete_dataset,
    get_artifact,
    get_artifact_content,
    get_dataset,
    list_artifacts,
    list_datasets,
    read_upload,
    upload_dataset,
    write_atomically,
)
from explaind.protocol.paging import Paging
from explaind.protocol.short_tracebacks import short_tracebacks


@short_tracebacks
class Datasets:
    """The datasets of the service: tables that requests refer to by id, kept until they are deleted."""

    def __init__(self, driver: FlowDriver) -> None:
        self._driver = driver

    def upload(self, source: Source, *, name: str | None = None, media: str | None = None) -> DatasetCard:
        """Upload a dataset; the same rows again are the same dataset.

        Args:
            source: a file: its path, its bytes or the open file, as JSON (lines or an array), CSV, TSV or Parquet. Or a
                table: a pandas or polars DataFrame (without its index), a pyarrow Table, a `datasets.Dataset`, or dicts
                by row, from a list or any iterable. Missing values are null, dates text, columns of lists refused.
            name: the dataset's name, else the file's, or one that says what the table is.
            media: the media type of a file ("text/csv", …), else by the suffix of its name, else JSON.

        Raises:
            InvalidDataset: it cannot be read; the error names the line, or row and column. WrongSource, which is a
                TypeError as well, where it is neither a file nor a table.
            BodyTooLarge, TooManyFiles, UnsupportedMedia: it is not taken.
            OSError: the file cannot be read.
        """
        file = run_in_thread(read_upload, source, name, media)
        return self._driver.run(upload_dataset(self._driver.policy, file))

    def list(self, *, page_size: int = 100) -> Iterator[DatasetCard]:
        """All datasets, newest first; pages are fetched as they are needed."""
        paging = Paging()
        while paging.more:
            flow = list_datasets(self._driver.policy, after=paging.after, limit=page_size)
            for card in paging.take(self._driver.run(flow)):
                yield card

    def get(self, dataset_id: str) -> DatasetPreview:
        """A dataset's card and its first rows. Raises DatasetNotFound."""
        return self._driver.run(get_dataset(self._driver.policy, dataset_id))

    def delete(self, dataset_id: str) -> None:
        """Delete a dataset. Raises DatasetNotFound."""
        self._driver.run(delete_dataset(self._driver.policy, dataset_id))


@short_tracebacks
class Artifacts:
    """The files made by jobs, such as trained lenses; kept until they are deleted."""

    def __init__(self, driver: FlowDriver) -> None:
        self._driver = driver

    def list(self, *, page_size: int = 100) -> Iterator[ArtifactCard]:
        """All artifacts, newest first; pages are fetched as they are needed."""
        paging = Paging()
        while paging.more:
            flow = list_artifacts(self._driver.policy, after=paging.after, limit=page_size)
            for card in paging.take(self._driver.run(flow)):
                yield card

    def get(self, artifact_id: str) -> ArtifactCard:
        """An artifact's card. Raises ArtifactNotFound."""
        return self._driver.run(get_artifact(self._driver.policy, artifact_id))

    def download(self, artifact_id: str, path: str | os.PathLike[str]) -> Path:
        """Write an artifact to a file, which exists whole or not at all; returns its path.

        Raises:
            ArtifactNotFound: no artifact has that id.
            FileLost: its bytes are no longer there.
            OSError: the file cannot be written.
        """
        data = self._driver.run(get_artifact_content(self._driver.policy, artifact_id))
        return run_in_thread(write_atomically, path, data)

    def delete(self, artifact_id: str) -> None:
        """Delete an artifact; the job that made it stays as it is. Raises ArtifactNotFound."""
        self._driver.run(delete_artifact(self._driver.policy, artifact_id))
