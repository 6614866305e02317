"""Out of memory is no end: the batch is halved and the work goes on."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from explaind.contract.errors import OutOfMemory
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.models.device_errors import out_of_memory, release_memory

Row = TypeVar("Row")
Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)


class Backoff:
    """How many rows the device has proved unable to hold at once; one object lives as long as its job's engine."""

    def __init__(self, meter: CostMeter) -> None:
        self._meter = meter
        self._most: int | None = None

    def halving(
        self, rows: Sequence[Row], run: Callable[[Sequence[Row]], Answer]
    ) -> Iterator[tuple[Sequence[Row], Answer]]:
        """Runs `rows`, in order and in as few parts as the memory allows; yields each part with its answer.

        A part that runs out of memory is halved, and no later one is larger than what was left of it.

        Raises:
            OutOfMemory: one row alone does not fit.
        """
        start = 0
        while start < len(rows):
            part = rows[start : start + (self._most or len(rows))]
            answer = _attempt(run, part)
            if answer is not None:
                yield part, answer[0]
                start += len(part)
                continue
            release_memory()
            if len(part) == 1:
                raise OutOfMemory(
                    "The device ran out of memory for a single row.",
                    hint="Try again when the device is less busy, or send a shorter prompt.",
                )
            self._most = len(part) // 2
            self._meter.backoffs += 1
            logger.info("out of memory with %d rows, going on with %d", len(part), self._most)


def _attempt(run: Callable[[Sequence[Row]], Answer], part: Sequence[Row]) -> tuple[Answer] | None:
    """The answer, in a tuple; None when memory ran out.

    Once this has returned nothing refers to the error, nor its traceback to what the failed forward had made.
    """
    try:
        return (run(part),)
    except Exception as error:
        if not out_of_memory(error):
            raise
    return None
