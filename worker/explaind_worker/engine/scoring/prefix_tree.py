"""Rows of tokens as one tree of prefixes: every distinct prefix is one node, which is evaluated once.

Rows in lexicographic order walk the tree depth first: a row shares its beginning with the row before it and adds a
branch of nodes of its own. Branches are packed one after the other, without padding; a chunk of them is one forward.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from explaind_worker.engine.scoring.masker import TokenArray

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Branch:
    """A row of the tree: its `tokens`, of which those before `start` are nodes of the row before it.

    At its last `reads` places logits are read; they are nodes of its own.
    """

    tokens: TokenArray
    start: int
    reads: int

    @property
    def nodes(self) -> int:
        """How many nodes it adds."""
        return len(self.tokens) - self.start


@dataclass(frozen=True)
class Chunk:
    """Branches that are evaluated together. The first may begin in the `carried` nodes of the last row before them.

    `tokens` and `positions` [node] are what the model is given; `paths` [row, position] says which node, counted from
    the carried ones on, stands at each place of a row (0 beyond its end); `reads` [read] are nodes without the
    carried, the places of all rows one after the other.
    """

    tokens: TokenArray
    positions: IntArray
    paths: IntArray
    lengths: IntArray
    starts: IntArray
    reads: IntArray
    reads_of_row: IntArray
    carried: int

    @property
    def trunk(self) -> int:
        """Length of the beginning that all rows share."""
        return int(self.starts[1:].min()) if len(self.starts) > 1 else 0

    def above(self, length: int) -> "Chunk":
        """The rows without their first places, as far as attention has to know them."""
        starts = np.maximum(self.starts - length, 0)
        return replace(self, paths=self.paths[:, length:], lengths=self.lengths - length, starts=starts)

    def below(self, length: int) -> "Chunk":
        """The first places of the first row alone."""
        lengths, starts = np.array([length]), self.starts[:1]
        return replace(self, paths=self.paths[:1, :length], lengths=lengths, starts=starts)

    @property
    def last_path(self) -> IntArray:
        """Nodes of the last row, which the next chunk may begin with."""
        return self.paths[-1, : self.lengths[-1]]


def in_order(rows: Sequence[TokenArray]) -> list[int]:
    """Indices of rows in lexicographic order of their tokens, a prefix before what it begins."""
    keys = [row.astype(">i8").tobytes() for row in rows]
    return sorted(range(len(rows)), key=keys.__getitem__)


def branches(rows: Sequence[TokenArray], reads: Sequence[int]) -> list[Branch]:
    """Rows that are in order as branches of one tree; `reads` are places at the end of each row."""
    made: list[Branch] = []
    before: TokenArray = np.empty(0, dtype=np.int64)
    for tokens, count in zip(rows, reads, strict=True):
        start = min(_common(before, tokens), len(tokens) - count)
        made.append(Branch(tokens, start, count))
        before = tokens
    return made


def chunks(of: Sequence[Branch], most: int) -> Iterator[Sequence[Branch]]:
    """Branches of at most `most` nodes together; at least one branch."""
    begin, nodes = 0, 0
    for index, branch in enumerate(of):
        if index > begin and nodes + branch.nodes > most:
            yield of[begin:index]
            begin, nodes = index, 0
        nodes += branch.nodes
    if begin < len(of):
        yield of[begin:]


def pack(of: Sequence[Branch], carried: int) -> Chunk:
    """The chunk of these branches, after `carried` nodes (the whole row before the first of them, or 0)."""
    lengths = np.array([len(branch.tokens) for branch in of])
    starts = np.array([branch.start for branch in of])
    paths = np.zeros((len(of), lengths.max()), dtype=np.int64)
    path, node = np.arange(carried), carried
    for row, branch in zip(paths, of, strict=True):
        end = len(branch.tokens)
        row[: branch.start] = path[: branch.start]
        row[branch.start : end] = np.arange(node, node + branch.nodes)
        path, node = row, node + branch.nodes
    return Chunk(
        tokens=np.concatenate([branch.tokens[branch.start :] for branch in of]),
        positions=np.concatenate([np.arange(branch.start, len(branch.tokens)) for branch in of]),
        paths=paths,
        lengths=lengths,
        starts=starts,
        reads=np.concatenate([row[n - b.reads : n] for row, n, b in zip(paths, lengths, of, strict=True)]) - carried,
        reads_of_row=np.array([branch.reads for branch in of]),
        carried=carried,
    )


def _common(first: TokenArray, second: TokenArray) -> int:
    """Length of the prefix that two rows have in common."""
    shorter = min(len(first), len(second))
    differs = first[:shorter] != second[:shorter]
    return int(differs.argmax()) if differs.any() else shorter
