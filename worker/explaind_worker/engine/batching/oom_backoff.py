"""Out-of-memory backoff: the batch is halved and the work continues."""

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
    """Remembers the batch size that the device could not hold; one object per job and engine."""

    def __init__(self, meter: CostMeter) -> None:
        self._meter = meter
        self._most: int | None = None

    def halving(
        self, rows: Sequence[Row], run: Callable[[Sequence[Row]], Answer]
    ) -> Iterator[tuple[Sequence[Row], Answer]]:
        """Runs `rows`, in order and in as few parts as memory allows; yields each part with its result.

        A part that runs out of memory is halved, and later parts are no larger than the half.

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
    """The result, in a tuple; None if memory ran out.

    After the return nothing references the error, whose traceback would keep the failed forward's tensors alive.
    """
    try:
        return (run(part),)
    except Exception as error:
        if not out_of_memory(error):
            raise
    return None
