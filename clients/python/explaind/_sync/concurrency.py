"""Primitives of the sync client; `explaind._async.concurrency` has those of the async client under the same names."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ParamSpec, TypeVar

from explaind.contract.job import Job
from explaind.protocol.exchange import OnProgress

P = ParamSpec("P")
T = TypeVar("T")

SleepFunction = Callable[[float], None]

# Raised in a call that is interrupted while it waits.
Interrupt = KeyboardInterrupt

sleep = time.sleep


def run_in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The function's result, computed right here: a sync caller waits for it in any case."""
    return function(*args, **kwargs)


def time_limit(seconds: float) -> AbstractContextManager[object]:
    """No limit: a blocking call cannot be stopped from outside; httpx's own timeout bounds each exchange."""
    return nullcontext(seconds)


def report_progress(callback: OnProgress | None, job: Job[Any]) -> None:
    """Calls `callback`, if there is one, with the job."""
    if callback is not None:
        callback(job)
