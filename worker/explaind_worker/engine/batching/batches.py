"""Which rows share a forward."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def batched(rows: Iterable[T], joins: Callable[[list[T], T], bool]) -> Iterator[list[T]]:
    """Rows in the order they come; each joins the batch of those before it where it may, else it begins another."""
    batch: list[T] = []
    for row in rows:
        if batch and not joins(batch, row):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
