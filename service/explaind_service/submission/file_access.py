"""Async access to callers' files for the routes: runs the blocking file store in threads."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, BinaryIO, TypeVar

from anyio import CapacityLimiter, from_thread, to_thread
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from explaind.contract.errors import RequestError
from explaind.contract.files import DatasetCard, files_named
from explaind_jobs.files.cards import dataset_too_large
from explaind_jobs.files.file_store import Files, FileStore
from explaind_jobs.redis_scripts.script import ScriptCall
from explaind_jobs.results.blob_store import unavailable
from explaind_jobs.store.job_store import AsyncJobStore
from explaind_service.submission.upload_body import UploadBody
from explaind_service.submission.upload_space import UploadSpace

T = TypeVar("T")

# Each holds a whole file in memory; others wait.
HEAVY_AT_A_TIME = 4
# Each runs a process that encodes a completely received upload; others wait.
ENCODED_AT_A_TIME = 2
WRITTEN_AT_ONCE = 1 << 18


class AsyncFileStore:
    """Runs calls on one owner's files in threads. Hold `heavy` around anything that holds a whole file in memory."""

    def __init__(self, store: AsyncJobStore) -> None:
        self._store = store
        self._files = FileStore(self._run, store.settings)
        self._space = UploadSpace(store.settings.dataset_bytes)
        self._encoding = CapacityLimiter(ENCODED_AT_A_TIME)
        self.heavy = CapacityLimiter(HEAVY_AT_A_TIME)

    async def upload(self, body: UploadBody, name: str | None, owner: str) -> tuple[DatasetCard, bool]:
        """Keep the file of an upload as a dataset; its card, and whether it is new.

        While the body comes in it takes a little of the disk, and nobody's turn. Without a `name` the file's is taken.

        Raises:
            BodyTooLarge, InvalidDataset, InvalidRequest, UnsupportedMedia, TooManyFiles: it is not one to keep.
            CapacityError, StoreUnavailable: not now.
        """
        async with self._received(body, owner) as file, self._encoding:
            named = name or body.file_name or f"dataset.{body.form}"
            return await self.ask(lambda files: files.put_upload(file, body.form, named), owner)

    @asynccontextmanager
    async def _received(self, body: UploadBody, owner: str) -> AsyncIterator[BinaryIO]:
        most, held, waiting = self._store.settings.dataset_bytes, 0, bytearray()
        file = await to_thread.run_sync(self._files.temporary)
        try:
            async with aclosing(body.chunks()) as chunks:
                async for chunk in chunks:
                    if held + len(chunk) > most:
                        raise dataset_too_large(most)
                    self._space.take(owner, len(chunk))
                    held += len(chunk)
                    waiting += chunk
                    if len(waiting) >= WRITTEN_AT_ONCE:
                        await to_thread.run_sync(_write, file, bytes(waiting))
                        waiting.clear()
            await to_thread.run_sync(_write, file, bytes(waiting))
            yield file
        except ClientDisconnect as error:
            raise RequestError("The connection was closed before the body was here.", hint="Send it again.") from error
        finally:
            self._space.give_back(owner, held)
            file.close()

    async def ask(self, work: Callable[[Files], T], owner: str, *, sees: str | None = None) -> T:
        """The result of `work` on the owner's files; raises what it raises."""
        return await to_thread.run_sync(work, self._files.of(owner, sees=sees))

    async def check(self, request: BaseModel, owner: str) -> None:
        """Checks that the files which a request names exist.

        Raises:
            UnknownDataset, UnknownArtifact: one does not exist.
            StoreUnavailable: Redis does not answer.
        """
        named = list(files_named(request))

        def work(files: Files) -> None:
            for pointer, file_id in named:
                files.require(file_id, pointer=pointer)

        if named:
            await self.ask(work, owner)

    def _run(self, call: ScriptCall[Any], /) -> Any:
        return from_thread.run(self._store.run, call)


def _write(file: BinaryIO, data: bytes) -> None:
    with unavailable("written"):
        file.write(data)
