"""The files of callers, as routes need them: the store of files blocks, so it works in threads."""

from collections.abc import Callable
from typing import Any, TypeVar

from anyio import CapacityLimiter, from_thread, to_thread
from pydantic import BaseModel

from explaind.contract.files import files_named
from explaind_jobs.files.file_store import Files, FileStore
from explaind_jobs.redis_scripts.script import ScriptCall
from explaind_jobs.store.job_store import AsyncJobStore

T = TypeVar("T")

# Each holds a file in memory, from its first byte to its last; others wait.
HEAVY_AT_A_TIME = 4


class AsyncFileStore:
    """Runs what is asked of the files of one owner. `heavy` is to be held around whatever holds a whole file."""

    def __init__(self, store: AsyncJobStore) -> None:
        self._store = store
        self._files = FileStore(self._run, store.settings)
        self.heavy = CapacityLimiter(HEAVY_AT_A_TIME)

    async def ask(self, work: Callable[[Files], T], owner: str, *, sees: str | None = None) -> T:
        """What `work` makes of the owner's files; raises what it raises."""
        return await to_thread.run_sync(work, self._files.of(owner, sees=sees))

    async def check(self, request: BaseModel, owner: str) -> None:
        """Refuses a request that names files which its owner does not have.

        Raises:
            UnknownDataset, UnknownArtifact: one is not there.
            StoreUnavailable: nobody can tell.
        """
        named = list(files_named(request))

        def work(files: Files) -> None:
            for pointer, file_id in named:
                files.require(file_id, pointer=pointer)

        if named:
            await self.ask(work, owner)

    def _run(self, call: ScriptCall[Any], /) -> Any:
        return from_thread.run(self._store.run, call)
