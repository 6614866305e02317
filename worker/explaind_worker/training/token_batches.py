"""Rows of tokens made of texts: cut to a length, a share held out, drawn for steps of training, put into batches."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from explaind_worker.engine.batching.batches import batched

Row = tuple[int, ...]


def pieces(row: Row, longest: int) -> list[Row]:
    """A text's tokens in order, cut into rows of at most so many."""
    return [row[start : start + longest] for start in range(0, len(row), longest)]


def held_out(texts: Sequence[Sequence[Row]], share: float, seed: int) -> tuple[list[Row], list[Row]]:
    """The rows to train on and those held out: of whole texts, of which the share is drawn; at least one of each.

    A single text is divided by its rows, of which the last ones are held out. There must be two rows at least.
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
    """Endless draws of rows that hold `tokens` together, or a row more; every row comes once before any comes again."""
    random = np.random.default_rng([seed, 1])  # other draws than those of what is held out
    draw: list[Row] = []
    while True:
        for index in random.permutation(len(rows)):
            draw.append(rows[index])
            if sum(map(len, draw)) >= tokens:
                yield draw
                draw = []


def longest_first(rows: Sequence[Row], fits: Callable[[int, int], bool]) -> Iterator[list[Row]]:
    """All rows, the longest first, as many to a batch as fit: `fits(rows, tokens of the longest)`; at least one."""
    by_length = sorted(rows, key=lambda row: (-len(row), row))
    return batched(by_length, lambda batch, _row: fits(len(batch) + 1, len(batch[0])))
