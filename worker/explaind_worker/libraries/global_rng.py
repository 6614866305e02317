"""Process-global state lent to one library call at a time: random generators, and torch's default dtype."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from explaind_worker.models.patient_lock import POLL_S, nothing
from explaind_worker.models.structure.default_dtype import float32_by_default

_LENT = threading.Lock()


class GlobalRng:
    """Global random state of torch (CPU), numpy and Python from one seed, for libraries that draw from it.

    Within `held()` the global generators have this object's state; the previous state is restored afterwards, and other
    holders wait: `while_waiting` is called repeatedly until it is their turn, and may raise. Each `held()` continues
    where the last one ended. The default dtype is float32 meanwhile, whatever dtype another thread is loading a model
    in.
    """

    def __init__(self, seed: int, while_waiting: Callable[[], None] = nothing) -> None:
        self._while_waiting = while_waiting
        self._ours = False
        self._state: tuple[Any, ...] | None = None
        self._others: tuple[Any, ...] | None = None
        self._seed = seed

    @contextmanager
    def held(self) -> Iterator[None]:
        """Context in which the global generators have this object's state."""
        self._take()
        try:
            yield
        finally:
            self._return()

    @contextmanager
    def given_back(self) -> Iterator[None]:
        """Within `held()`: releases the generators to others, for instance while a model computes."""
        self._return()
        try:
            yield
        finally:
            self._take()

    def _take(self) -> None:
        while not _LENT.acquire(timeout=POLL_S):
            self._while_waiting()
        self._ours = True
        self._dtype = float32_by_default()
        self._dtype.__enter__()
        self._others = _states()
        if self._state is None:
            random.seed(self._seed)
            np.random.seed(self._seed)
            torch.default_generator.manual_seed(self._seed)
        else:
            _set(self._state)

    def _return(self) -> None:
        if not self._ours:  # a wait within `given_back()` was interrupted
            return
        self._ours = False
        self._state = _states()
        if self._others is not None:
            _set(self._others)
        self._dtype.__exit__(None, None, None)
        _LENT.release()


def _states() -> tuple[Any, ...]:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def _set(states: tuple[Any, ...]) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
