"""Calls of the sync client: the driver of the flows, a method's call, a job's handle, a service's jobs."""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import Any, Generic, ParamSpec, TypeVar

import httpx

from explaind.contract.base import ResponseModel
from explaind.contract.blocks.units import UnitKind
from explaind.contract.errors import ExplaindError
from explaind.contract.estimate import Estimate
from explaind.contract.job import Job, JobState, Progress
from explaind.contract.method import Method
from explaind.contract.result_page import ResultPage
from explaind.protocol import operations
from explaind.protocol.config import http_request
from explaind.protocol.events import JobEvent
from explaind.protocol.exchange import (
    Effect,
    Flow,
    FlowRun,
    Hear,
    Leave,
    Listen,
    OnProgress,
    Policy,
    Report,
    Send,
    Sleep,
)
from explaind.protocol.follow import follow
from explaind.protocol.operations import CallOptions

P = ParamSpec("P")
T = TypeVar("T")
ResultT = TypeVar("ResultT")
AnswerT = TypeVar("AnswerT", bound=ResponseModel)


class FlowDriver:
    """Runs flows: sends over httpx, sleeps, reports."""

    def __init__(self, http: httpx.Client, policy: Policy, sleep: Callable[[float], None] = time.sleep) -> None:
        self.http = http
        self.policy = policy
        self.sleep = sleep

    def run(self, flow: Flow[T], on_progress: OnProgress | None = None) -> T:
        """What the flow returns; raises what it raises."""
        course = FlowRun(flow)
        with contextlib.closing(self.events(course)) as events:
            for event in events:
                if on_progress is not None:
                    on_progress(event.job)
        return course.value

    def events(self, course: FlowRun[Any]) -> Generator[JobEvent, None, None]:
        """Drives a flow to its end; what it reports comes out. Closed before that, it leaves no connection behind."""
        ear = EventConnection(self.http)
        try:
            effect = course.begin()
            while effect is not None:
                if isinstance(effect, Report):
                    yield effect.event
                    effect = course.answer(None)
                    continue
                try:
                    became = self._do(effect, ear)
                except httpx.RequestError as error:
                    effect = course.fail(error)
                else:
                    effect = course.answer(became)
        finally:
            ear.leave()

    def _do(self, effect: Effect, ear: "EventConnection") -> httpx.Response | bytes | None:
        match effect:
            case Send(request):
                return self.http.send(http_request(self.http, request))
            case Sleep(seconds):
                self.sleep(seconds)
            case Listen():
                return ear.listen(effect)
            case Hear():
                return ear.hear()
            case Leave():
                ear.leave()
        return None


class EventConnection:
    """The one response that a flow listens to."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes] = iter(())

    def listen(self, effect: Listen) -> httpx.Response:
        """Begins to listen; the response, of which a refusal is read whole."""
        self.leave()
        request = http_request(self._http, effect.request, silence_s=effect.silence_s)
        self._response = response = self._http.send(request, stream=True)
        if not response.is_success:
            response.read()
        self._chunks = response.iter_bytes()
        return response

    def hear(self) -> bytes:
        """The next bytes; none at the end."""
        return next(self._chunks, b"")

    def leave(self) -> None:
        """Listens no longer."""
        if self._response is not None:
            self._response.close()
        self._response, self._chunks = None, iter(())


class JobHandle(Generic[ResultT]):
    """A submitted job: follow it, wait for it, cancel it, take its result. `job` is how it was last seen."""

    def __init__(self, driver: FlowDriver, job: Job[ResultT]) -> None:
        self._driver = driver
        self.job = job

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.job.method} {self.job.state.value}>"

    @property
    def id(self) -> str:
        """The job's id."""
        return self.job.id

    @property
    def state(self) -> JobState:
        """The state it was last seen in."""
        return self.job.state

    @property
    def progress(self) -> Progress | None:
        """How far it was when last seen."""
        return self.job.progress

    def refresh(self) -> Job[ResultT]:
        """Ask the service how the job is now."""
        self.job = self._driver.run(operations.job(self._driver.policy, self.id))
        return self.job

    def wait(self, timeout: float | None = None, on_progress: OnProgress | None = None) -> Job[ResultT]:
        """Wait until the job has ended, however it ends.

        Args:
            timeout: seconds to wait at most; None means as long as it takes.
            on_progress: called with the job whenever its state, progress or place in the queue has changed.

        Raises:
            WaitTimeout: the job had not ended by then; it goes on.
        """

        def seen(job: Job[Any]) -> None:
            self.job = job
            if on_progress is not None:
                on_progress(job)

        self.job = self._driver.run(follow(self._driver.policy, self.job, timeout), seen)
        return self.job

    def events(self, timeout: float | None = None) -> Generator[JobEvent, None, None]:
        """Everything that happens to the job, as it happens, up to its end.

        Closing the iterator, or leaving a loop over it, ends the connection.

        Args:
            timeout: seconds to follow it at most; None means as long as it takes.

        Raises:
            WaitTimeout: the job had not ended by then; it goes on.
        """
        flow = follow(self._driver.policy, self.job, timeout)
        with contextlib.closing(self._driver.events(FlowRun(flow))) as events:
            for event in events:
                self.job = event.job
                yield event

    def result(self, timeout: float | None = None) -> ResultT:
        """Wait for the job's result.

        Raises:
            JobError: the job failed (of the class that the worker raised) or was cancelled.
            WaitTimeout: the job had not ended by then; it goes on.
        """
        return operations.result_of(self.wait(timeout))

    def cancel(self) -> Job[ResultT]:
        """Ask for the job to be cancelled; a job that has ended stays as it is."""
        self.job = self._driver.run(operations.cancel(self._driver.policy, self.id))
        return self.job


class MethodCall(Generic[P, AnswerT]):
    """A method of the service as something to call: `client.explain.shap(model=…, prompt=…)`."""

    def __init__(self, driver: FlowDriver, method: Method[P, AnswerT], options: CallOptions | None = None) -> None:
        self._driver = driver
        self._options = options or CallOptions()
        self.method = method
        self.__doc__ = f"{method.title}: {method.summary}"

    def __repr__(self) -> str:
        return f"<{self.method.path}: {self.method.title}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> AnswerT:
        """Submit, wait, return the result. An interrupt (Ctrl-C) asks the service to cancel the job.

        Raises:
            RequestError: the request cannot be accepted; its fields are checked before anything is sent.
            JobError: the job failed, of the class that the worker raised.
            ExplaindError: anything else of the tree.
        """
        handle = self.submit(*args, **kwargs)
        try:
            job = handle.wait(self._options.timeout, self._options.on_progress)
        except KeyboardInterrupt:
            with contextlib.suppress(ExplaindError):
                self._driver.run(operations.cancel(self._driver.policy, handle.id, once=True))
            raise
        return operations.result_of(job)

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle[AnswerT]:
        """Submit the job and return its handle at once."""
        body = operations.request_body(self.method.params_model, lambda: self.method.params(*args, **kwargs))
        flow = operations.submit(self._driver.policy, self.method.path, body, self._options)
        return JobHandle(self._driver, self._driver.run(flow))

    def estimate(self, *args: P.args, **kwargs: P.kwargs) -> Estimate:
        """What the call would cost: forwards, tokens, bytes and seconds. Nothing is computed.

        Raises:
            RequestError: the call itself would be refused for the same reason.
            JobError: the call itself would fail for the same reason.
        """
        body = operations.request_body(self.method.params_model, lambda: self.method.params(*args, **kwargs))
        options = replace(self._options, idempotency_key=None)  # the key is for the call itself
        flow = operations.submit(self._driver.policy, operations.estimate_path(self.method.path), body, options)
        handle: JobHandle[Estimate] = JobHandle(self._driver, self._driver.run(flow))
        return handle.result(self._options.timeout)

    def with_options(
        self,
        *,
        timeout: float | None = None,
        on_progress: OnProgress | None = None,
        idempotency_key: str | None = None,
        fresh: bool | None = None,
    ) -> "MethodCall[P, AnswerT]":
        """The same call with other options; those left out stay as they are.

        Args:
            timeout: seconds that a call waits for its job.
            on_progress: called with the job whenever it has changed.
            idempotency_key: calls with the same key and request are one job.
            fresh: compute the answer although it may be known.
        """
        given = {
            "timeout": timeout,
            "on_progress": on_progress,
            "idempotency_key": idempotency_key,
            "fresh": fresh,
        }
        changed = {name: value for name, value in given.items() if value is not None}
        return MethodCall(self._driver, self.method, replace(self._options, **changed))


class Jobs:
    """The jobs of the service."""

    def __init__(self, driver: FlowDriver) -> None:
        self._driver = driver

    def get(self, job_id: str) -> Job[Any]:
        """The job as it is now, with its result when it has succeeded. Raises JobNotFound."""
        return self._driver.run(operations.job(self._driver.policy, job_id))

    def handle(self, job_id: str) -> JobHandle[Any]:
        """The handle of a job that was submitted earlier, or elsewhere. Raises JobNotFound."""
        return JobHandle(self._driver, self.get(job_id))

    def list(
        self,
        *,
        state: JobState | str | None = None,
        method: str | None = None,
        model: str | None = None,
        page_size: int = 100,
    ) -> Iterator[Job[Any]]:
        """All jobs that fit, newest first, without their results; pages are fetched as they are needed."""
        filters = {"state": str(state) if state else None, "method": method, "model": model}
        after: str | None = None
        while True:
            flow = operations.page(self._driver.policy, filters, after=after, limit=page_size)
            page = self._driver.run(flow)
            yield from page.data
            if not page.has_more or not page.data:
                return
            after = page.data[-1].id

    def result(self, job_id: str) -> Any:
        """The result of a job that has ended.

        Raises:
            JobError: it failed or was cancelled.
            JobNotFinished: it has not ended.
        """
        return self._driver.run(operations.result(self._driver.policy, job_id))

    def result_page(
        self, job_id: str, path: str, *, offset: int = 0, limit: int = 100, units: UnitKind | None = None
    ) -> ResultPage:
        """Some items of one array of a result, which is not fetched as a whole.

        Args:
            job_id: a job that has succeeded.
            path: JSON pointer to the array, e.g. "/values_by_target".
            offset: the index of the first item.
            limit: how many items at most; the service takes up to 10,000.
            units: show an attribution by larger units than it was computed by.

        Raises:
            InvalidRequest: `path` names no array of the result, or it does not hold those units.
            JobError: the job failed, was cancelled, or its result was lost.
            JobNotFinished: it has not ended.
        """
        return self._driver.run(operations.result_page(self._driver.policy, job_id, path, offset, limit, units=units))

    def cancel(self, job_id: str) -> Job[Any]:
        """Ask for a job to be cancelled; a job that has ended stays as it is."""
        return self._driver.run(operations.cancel(self._driver.policy, job_id))

    def delete(self, job_id: str) -> None:
        """Delete the record and the result of a job that has ended. Raises JobActive, JobNotFound."""
        self._driver.run(operations.delete(self._driver.policy, job_id))
