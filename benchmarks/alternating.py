"""Alternating timing of two implementations in one process, so that other load affects both alike."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.counting import Count, Counter

Array = NDArray[np.float64]
Ask = Callable[[], Array]


@dataclass
class Side:
    """One of the two: its result, the seconds of each run, and the cost of one run."""

    answer: Array = field(default_factory=lambda: np.empty(0))
    seconds: list[float] = field(default_factory=list)
    count: Count = field(default_factory=Count)
    error: str | None = None

    @property
    def median(self) -> float:
        """Median of its runs, in seconds."""
        return statistics.median(self.seconds)


def alternate(ours: Ask, peer: Ask, counters: Sequence[Counter], *, repeats: int, spend_s: float) -> tuple[Side, Side]:
    """Runs ours and the peer alternately, `repeats` times or until `spend_s` is spent; at least once.

    A peer that fails is recorded as failed and not run again.
    """
    sides = Side(), Side()
    began = time.perf_counter()
    for _ in range(repeats):
        _run(sides[0], ours, counters)
        if sides[1].error is None:
            try:
                _run(sides[1], peer, counters)
            except Exception as error:
                sides[1].error = f"{type(error).__name__}: {error}"[:200]
        if time.perf_counter() - began > spend_s:
            break
    return sides


def _run(side: Side, ask: Ask, counters: Sequence[Counter]) -> None:
    for counter in counters:
        counter.take()
    began = time.perf_counter()
    side.answer = ask()
    side.seconds.append(time.perf_counter() - began)
    side.count = sum((counter.take() for counter in counters), Count())
