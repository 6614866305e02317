"""The datasets and artifacts of a service, for the async client."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

from explaind._async.jobs import AsyncDriver
from explaind.contract.files import ArtifactCard, ArtifactPage, DatasetCard, DatasetPage, DatasetPreview
from explaind.protocol import file_operations


class AsyncDatasets:
    """The datasets of the service: tables that requests name by their ids, kept until they are deleted."""

    def __init__(self, driver: AsyncDriver) -> None:
        self._driver = driver

    async def upload(
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
        file = await asyncio.to_thread(file_operations.upload_of, source, name, media)
        return await self._driver.run(file_operations.upload(self._driver.policy, file))

    async def list(self, *, page_size: int = 100) -> AsyncIterator[DatasetCard]:
        """All datasets, newest first; pages are fetched as they are needed."""
        after: str | None = None
        while True:
            page = await self._driver.run(
                file_operations.page(self._driver.policy, DatasetPage, after=after, limit=page_size)
            )
            for card in page.data:
                yield card
            if not page.has_more or not page.data:
                return
            after = page.data[-1].id

    async def get(self, dataset_id: str) -> DatasetPreview:
        """What there is to know of a dataset, and its first rows. Raises DatasetNotFound."""
        return await self._driver.run(file_operations.dataset(self._driver.policy, dataset_id))

    async def delete(self, dataset_id: str) -> None:
        """Delete a dataset. Raises DatasetNotFound."""
        await self._driver.run(file_operations.delete_dataset(self._driver.policy, dataset_id))


class AsyncArtifacts:
    """What jobs have left on the service, such as trained lenses; kept until it is deleted."""

    def __init__(self, driver: AsyncDriver) -> None:
        self._driver = driver

    async def list(self, *, page_size: int = 100) -> AsyncIterator[ArtifactCard]:
        """All artifacts, newest first; pages are fetched as they are needed."""
        after: str | None = None
        while True:
            page = await self._driver.run(
                file_operations.page(self._driver.policy, ArtifactPage, after=after, limit=page_size)
            )
            for card in page.data:
                yield card
            if not page.has_more or not page.data:
                return
            after = page.data[-1].id

    async def get(self, artifact_id: str) -> ArtifactCard:
        """What there is to know of an artifact. Raises ArtifactNotFound."""
        return await self._driver.run(file_operations.artifact(self._driver.policy, artifact_id))

    async def download(self, artifact_id: str, path: str | os.PathLike[str]) -> Path:
        """Write an artifact to a file, which is there as a whole or not at all; its path.

        Raises:
            ArtifactNotFound: there is none of that id.
            FileLost: its bytes are no longer there.
            OSError: the file cannot be written.
        """
        data = await self._driver.run(file_operations.content(self._driver.policy, artifact_id))
        return await asyncio.to_thread(file_operations.write_whole, path, data)

    async def delete(self, artifact_id: str) -> None:
        """Delete an artifact; the job that made it stays as it is. Raises ArtifactNotFound."""
        await self._driver.run(file_operations.delete_artifact(self._driver.policy, artifact_id))
