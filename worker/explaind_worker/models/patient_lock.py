"""Acquiring locks with progress reports and cancellation while waiting."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

POLL_S = 0.2


def nothing() -> None:
    """Default of `while_waiting`: neither reports nor cancels."""


@contextmanager
def held(lock: "threading.Lock | threading.RLock", while_waiting: Callable[[], None] = nothing) -> Iterator[None]:
    """Holds the lock; `while_waiting` is called every 0.2 s until it is acquired, and may raise to give up."""
    while not lock.acquire(timeout=POLL_S):
        while_waiting()
    try:
        yield
    finally:
        lock.release()
