"""How large a tree of token prefixes is, told from its rows alone."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from explaind_worker.engine.players import TokenArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


def distinct_prefixes(rows: Sequence[TokenArray]) -> int:
    """How many distinct prefixes (of at least one token) the rows have: the nodes of their tree."""
    return int(nodes_added(rows)[1].sum())


def nodes_added(rows: Sequence[TokenArray], reads: Sequence[int] | int = 0) -> tuple[IntArray, IntArray]:
    """The rows' lexicographic order [row], and how many nodes each, in that order, adds to the tree of those before it.

    A row shares what it has in common with the row before it, but its last `reads` tokens (of each row, or of all)
    are always nodes of its own.
    """
    if not rows:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    # Big-endian and counted from 1, so that bytes sort as tokens do and the 0 beyond the end of a row sorts first.
    table = np.zeros((len(rows), max(1, int(lengths.max()))), dtype=">u4")
    table[np.arange(table.shape[1]) < lengths[:, None]] = np.concatenate(list(rows)) + 1
    order = np.argsort(table.view(f"S{table.shape[1] * 4}").ravel(), kind="stable")
    table, lengths = table[order], lengths[order]
    differs = table[1:] != table[:-1]
    common = np.where(differs.any(axis=1), differs.argmax(axis=1), lengths[1:])
    own = np.broadcast_to(np.asarray(reads, dtype=np.int64), order.shape)[order]
    shared = np.minimum(np.concatenate([[0], common]), lengths - own)
    return order, lengths - shared


def packed(nodes: IntArray, most: int) -> Iterator[slice]:
    """Consecutive rows that share a forward: as many as add at most so many nodes together; at least one."""
    begin, together = 0, 0
    for index, count in enumerate(nodes.tolist()):
        if index > begin and together + count > most:
            yield slice(begin, index)
            begin, together = index, 0
        together += count
    if begin < len(nodes):
        yield slice(begin, len(nodes))
