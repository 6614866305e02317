"""Method calls, job handles and the jobs of a service, for the async client."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Any, Generic, ParamSpec, TypeVar

from explaind._async.concurrency import Interrupt, time_limit
from explaind._async.driver import AsyncFlowDriver
from explaind.contract.base import MethodResult
from explaind.contract.blocks.units import UnitKind
from explaind.contract.errors import ExplaindError
from explaind.contract.estimate import Estimate
from explaind.contract.job import Job, JobCard, JobState, Progress, ResultPage
from explaind.contract.method import Method
from explaind.protocol.events import JobEvent
from explaind.protocol.exchange import FlowRun, OnProgress
from explaind.protocol.follow import follow
from explaind.protocol.operations import (
    CANCEL_TIMEOUT_S,
    CallOptions,
    call_body,
    cancel_job,
    delete_job,
    estimate_path,
    get_job,
    get_result,
    get_result_page,
    list_jobs,
    result_of,
    submit_job,
)
from explaind.protocol.paging import Paging
from explaind.protocol.short_tracebacks import short_tracebacks
from explaind.protocol.signatures import describes_itself

P = ParamSpec("P")
ResultT = TypeVar("ResultT")
AnswerT = TypeVar("AnswerT", bound=MethodResult)


@short_tracebacks
class AsyncJobHandle(Generic[ResultT]):
    """A submitted job: follow it, wait for it, cancel it, take its result. `job` is its state when last seen."""

    def __init__(self, driver: AsyncFlowDriver, job: Job[ResultT]) -> None:
        self._driver = driver
        self.job = job

    def __repr__(self) -> str:
        return f"{type(self).__name__}({repr(self.job).partition('(')[2]}"

    def _repr_html_(self) -> str | None:
        """The job as last seen, for a notebook."""
        return self.job._repr_html_()

    @property
    def id(self) -> str:
        """The job's id."""
        return self.job.id

    @property
    def state(self) -> JobState:
        """The job's state when last seen."""
        return self.job.state

    @property
    def progress(self) -> Progress | None:
        """The job's progress when last seen."""
        return self.job.progress

    async def refresh(self) -> Job[ResultT]:
        """Fetch the job's current state from the service."""
        self.job = await self._driver.run(get_job(self._driver.policy, self.id))
        return self.job

    async def wait(self, timeout: float | None = None, on_progress: OnProgress | None = None) -> Job[ResultT]:
        """Wait until the job has ended, however it ends.

        Args:
            timeout: seconds to wait at most; None means without limit.
            on_progress: called with the job whenever its state, progress or place in the queue has changed; awaited
                if it is a coroutine function.

        Raises:
            WaitTimeout: the job had not ended by then; it goes on.
        """

        def seen(job: Job[Any]) -> object:
            self.job = job
            return on_progress(job) if on_progress is not None else None

        self.job = await self._driver.run(follow(self._driver.policy, self.job, timeout), seen)
        return self.job

    async def events(self, timeout: float | None = None) -> AsyncGenerator[JobEvent, None]:
        """Every event of the job, as it happens, up to its end.

        Closing the iterator ends the connection: `async with aclosing(handle.events()) as events` where a loop may be
        left early.

        Args:
            timeout: seconds to follow it at most; None means without limit.

        Raises:
            WaitTimeout: the job had not ended by then; it goes on.
        """
        run = FlowRun(follow(self._driver.policy, self.job, timeout))
        async with aclosing(self._driver.events(run)) as events:
            async for event in events:
                self.job = event.job
                yield event

    async def result(self, timeout: float | None = None) -> ResultT:
        """Wait for the job's result.

        Raises:
            JobError: the job failed (of the class that the worker raised) or was cancelled.
            WaitTimeout: the job had not ended by then; it goes on.
        """
        return result_of(await self.wait(timeout))

    async def cancel(self) -> Job[ResultT]:
        """Request the job's cancellation; a job that has ended stays as it is."""
        self.job = await self._driver.run(cancel_job(self._driver.policy, self.id))
        return self.job


@describes_itself
@short_tracebacks
class AsyncMethodCall(Generic[P, AnswerT]):
    """A method of the service as a callable: `await client.explain.shap(model=…, prompt=…)`."""

    def __init__(self, driver: AsyncFlowDriver, method: Method[P, AnswerT], options: CallOptions | None = None) -> None:
        self._driver = driver
        self._options = options or CallOptions()
        self.method = method

    def __repr__(self) -> str:
        return f"<{self.method.path}: {self.method.title}>"

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> AnswerT:
        """Submit, wait, return the result. Cancelling the task also requests the job's cancellation.

        Raises:
            RequestError: the request cannot be accepted; its fields are checked before anything is sent.
            JobError: the job failed, of the class that the worker raised.
            ExplaindError: anything else of the tree.
        """
        handle = await self.submit(*args, **kwargs)
        try:
            job = await handle.wait(self._options.timeout, self._options.on_progress)
        except Interrupt:
            with suppress(ExplaindError, TimeoutError):
                async with time_limit(CANCEL_TIMEOUT_S):
                    await self._driver.run(cancel_job(self._driver.policy, handle.id, once=True))
            raise
        return result_of(job)

    async def submit(self, *args: P.args, **kwargs: P.kwargs) -> AsyncJobHandle[AnswerT]:
        """Submit the job and return its handle at once."""
        body = call_body(self.method, args, kwargs)
        flow = submit_job(self._driver.policy, self.method.path, body, self._options)
        return AsyncJobHandle(self._driver, await self._driver.run(flow))

    async def estimate(self, *args: P.args, **kwargs: P.kwargs) -> Estimate:
        """The cost of the call: forwards, tokens, bytes and seconds. Nothing is computed.

        Raises:
            RequestError: the call itself would be refused for the same reason.
            JobError: the call itself would fail for the same reason.
        """
        body = call_body(self.method, args, kwargs)
        path, options = estimate_path(self.method.path), self._options.for_estimate()
        job = await self._driver.run(submit_job(self._driver.policy, path, body, options))
        handle: AsyncJobHandle[Estimate] = AsyncJobHandle(self._driver, job)
        return await handle.result(self._options.timeout)

    def with_options(
        self,
        *,
        timeout: float | None = None,
        on_progress: OnProgress | None = None,
        idempotency_key: str | None = None,
        fresh: bool | None = None,
    ) -> "AsyncMethodCall[P, AnswerT]":
        """The same call with other options; those left out stay as they are.

        Args:
            timeout: seconds that a call waits for its job.
            on_progress: called with the job whenever it has changed; awaited if it is a coroutine function.
            idempotency_key: calls with the same key and request are one job.
            fresh: compute the result although a cached one may exist.
        """
        options = self._options.updated(
            timeout=timeout, on_progress=on_progress, idempotency_key=idempotency_key, fresh=fresh
        )
        return AsyncMethodCall(self._driver, self.method, options)


@short_tracebacks
class AsyncJobs:
    """The jobs of the service."""

    def __init__(self, driver: AsyncFlowDriver) -> None:
        self._driver = driver

    async def get(self, job_id: str) -> Job[Any]:
        """The job as it is now, with its result when it has succeeded. Raises JobNotFound."""
        return await self._driver.run(get_job(self._driver.policy, job_id))

    async def handle(self, job_id: str) -> AsyncJobHandle[Any]:
        """The handle of a job that was submitted earlier, or elsewhere. Raises JobNotFound."""
        return AsyncJobHandle(self._driver, await self.get(job_id))

    async def list(
        self,
        *,
        state: JobState | str | None = None,
        method: str | None = None,
        model: str | None = None,
        estimates: bool = False,
        page_size: int = 100,
    ) -> AsyncIterator[JobCard]:
        """All jobs that fit, newest first, as cards (`get` has the rest); pages are fetched as they are needed."""
        filters = {"state": str(state) if state else None, "method": method, "model": model}
        filters["estimates"] = "true" if estimates else None
        paging = Paging()
        while paging.more:
            flow = list_jobs(self._driver.policy, filters, after=paging.after, limit=page_size)
            for job in paging.take(await self._driver.run(flow)):
                yield job

    async def result(self, job_id: str) -> Any:
        """The result of a job that has ended.

        Raises:
            JobError: it failed or was cancelled.
            JobNotFinished: it has not ended.
        """
        return await self._driver.run(get_result(self._driver.policy, job_id))

    async def result_page(
        self, job_id: str, path: str, *, offset: int = 0, limit: int = 100, units: UnitKind | None = None
    ) -> ResultPage:
        """Some items of one array of a result, which is not fetched as a whole.

        Args:
            job_id: a job that has succeeded.
            path: JSON pointer to the array, e.g. "/values_by_target".
            offset: the index of the first item.
            limit: maximum number of items; the service takes up to 10,000.
            units: show an attribution by larger units than it was computed by.

        Raises:
            InvalidRequest: `path` names no array of the result, or it does not hold those units.
            JobError: the job failed, was cancelled, or its result was lost.
            JobNotFinished: it has not ended.
        """
        return await self._driver.run(get_result_page(self._driver.policy, job_id, path, offset, limit, units=units))

    async def cancel(self, job_id: str) -> Job[Any]:
        """Request a job's cancellation; a job that has ended stays as it is."""
        return await self._driver.run(cancel_job(self._driver.policy, job_id))

    async def delete(self, job_id: str) -> None:
        """Delete the record and the result of a job that has ended. Raises JobActive, JobNotFound."""
        await self._driver.run(delete_job(self._driver.policy, job_id))
