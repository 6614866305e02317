"""Groups rows into batches."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def batched(rows: Iterable[T], joins: Callable[[list[T], T], bool]) -> Iterator[list[T]]:
    """Rows in order, each joining the current batch if `joins` allows it, otherwise starting the next."""
    batch: list[T] = []
    for row in rows:
        if batch and not joins(batch, row):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
