"""Token rows for training: cut to a length, split, drawn for steps, and batched."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from explaind_worker.engine.batching.batches import batched

Row = tuple[int, ...]


def pieces(row: Row, longest: int) -> list[Row]:
    """A text's tokens in order, cut into rows of at most `longest`."""
    return [row[start : start + longest] for start in range(0, len(row), longest)]


def held_out(texts: Sequence[Sequence[Row]], share: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Training rows and held-out rows: a random share of whole texts is held out; at least one of each.

    Of a single text the last rows are held out; it needs at least two.
    """
    if len(texts) == 1:
        (rows,) = texts
        kept = min(max(1, round(share * len(rows))), len(rows) - 1)
        return list(rows[:-kept]), list(rows[-kept:])
    order = np.random.default_rng(seed).permutation(len(texts))
    kept = min(max(1, round(share * len(texts))), len(texts) - 1)
    chosen = set(order[:kept].tolist())
    train = [row for index, text in enumerate(texts) if index not in chosen for row in text]
    return train, [row for index, text in enumerate(texts) if index in chosen for row in text]


def drawn(rows: Sequence[Row], tokens: int, seed: int) -> Iterator[list[Row]]:
    """Endless draws of rows with `tokens` in total, or up to a row more; every row is drawn once before any repeats."""
    random = np.random.default_rng([seed, 1])  # other random numbers than for the held-out split
    draw: list[Row] = []
    while True:
        for index in random.permutation(len(rows)):
            draw.append(rows[index])
            if sum(map(len, draw)) >= tokens:
                yield draw
                draw = []


def longest_first(rows: Sequence[Row], fits: Callable[[int, int], bool]) -> Iterator[list[Row]]:
    """All rows, longest first, as many to a batch as fit: `fits(rows, tokens of the longest)`; at least one."""
    by_length = sorted(rows, key=lambda row: (-len(row), row))
    return batched(by_length, lambda batch, _row: fits(len(batch) + 1, len(batch[0])))
