"""The datasets and artifacts of a service, for the async client."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

from explaind._async.concurrency import run_in_thread
from explaind._async.driver import AsyncFlowDriver
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
class AsyncDatasets:
    """The datasets of the service: tables that requests refer to by id, kept until they are deleted."""

    def __init__(self, driver: AsyncFlowDriver) -> None:
        self._driver = driver

    async def upload(self, source: Source, *, name: str | None = None, media: str | None = None) -> DatasetCard:
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
        file = await run_in_thread(read_upload, source, name, media)
        return await self._driver.run(upload_dataset(self._driver.policy, file))

    async def list(self, *, page_size: int = 100) -> AsyncIterator[DatasetCard]:
        """All datasets, newest first; pages are fetched as they are needed."""
        paging = Paging()
        while paging.more:
            flow = list_datasets(self._driver.policy, after=paging.after, limit=page_size)
            for card in paging.take(await self._driver.run(flow)):
                yield card

    async def get(self, dataset_id: str) -> DatasetPreview:
        """A dataset's card and its first rows. Raises DatasetNotFound."""
        return await self._driver.run(get_dataset(self._driver.policy, dataset_id))

    async def delete(self, dataset_id: str) -> None:
        """Delete a dataset. Raises DatasetNotFound."""
        await self._driver.run(delete_dataset(self._driver.policy, dataset_id))


@short_tracebacks
class AsyncArtifacts:
    """The files made by jobs, such as trained lenses; kept until they are deleted."""

    def __init__(self, driver: AsyncFlowDriver) -> None:
        self._driver = driver

    async def list(self, *, page_size: int = 100) -> AsyncIterator[ArtifactCard]:
        """All artifacts, newest first; pages are fetched as they are needed."""
        paging = Paging()
        while paging.more:
            flow = list_artifacts(self._driver.policy, after=paging.after, limit=page_size)
            for card in paging.take(await self._driver.run(flow)):
                yield card

    async def get(self, artifact_id: str) -> ArtifactCard:
        """An artifact's card. Raises ArtifactNotFound."""
        return await self._driver.run(get_artifact(self._driver.policy, artifact_id))

    async def download(self, artifact_id: str, path: str | os.PathLike[str]) -> Path:
        """Write an artifact to a file, which exists whole or not at all; returns its path.

        Raises:
            ArtifactNotFound: no artifact has that id.
            FileLost: its bytes are no longer there.
            OSError: the file cannot be written.
        """
        data = await self._driver.run(get_artifact_content(self._driver.policy, artifact_id))
        return await run_in_thread(write_atomically, path, data)

    async def delete(self, artifact_id: str) -> None:
        """Delete an artifact; the job that made it stays as it is. Raises ArtifactNotFound."""
        await self._driver.run(delete_artifact(self._driver.policy, artifact_id))
