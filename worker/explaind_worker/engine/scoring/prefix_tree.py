"""Prefix tree of token rows: every distinct prefix is one node, which is evaluated once.

Rows in lexicographic order walk the tree depth first: a row shares a prefix with the row before it and adds a branch of
new nodes. Branches are packed one after the other, without padding; a chunk of them is one forward.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from explaind_worker.engine.scoring.masker import TokenArray

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Branch:
    """A row of the tree: its `tokens`, of which those before `start` are nodes of the previous row.

    Logits are read at its last `reads` positions, which are among its new nodes.
    """

    tokens: TokenArray
    start: int
    reads: int

    @property
    def nodes(self) -> int:
        """Number of nodes it adds."""
        return len(self.tokens) - self.start


@dataclass(frozen=True)
class Chunk:
    """Branches evaluated together. The first may start from the `carried` nodes of the previous chunk's last row.

    `tokens` and `positions` [node] are the model's inputs; `paths` [row, position] is the node at each position of a
    row, counted from the carried ones on (0 beyond its end); `reads` [read] are the nodes read, not counting carried
    ones, row after row.
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
        """Length of the prefix shared by all rows."""
        return int(self.starts[1:].min()) if len(self.starts) > 1 else 0

    def above(self, length: int) -> "Chunk":
        """The rows without their first `length` positions, as far as attention needs them."""
        starts = np.maximum(self.starts - length, 0)
        return replace(self, paths=self.paths[:, length:], lengths=self.lengths - length, starts=starts)

    def below(self, length: int) -> "Chunk":
        """The first `length` positions of the first row alone."""
        lengths, starts = np.array([length]), self.starts[:1]
        return replace(self, paths=self.paths[:1, :length], lengths=lengths, starts=starts)

    @property
    def last_path(self) -> IntArray:
        """Nodes of the last row, from which the next chunk may start."""
        return self.paths[-1, : self.lengths[-1]]


def in_order(rows: Sequence[TokenArray]) -> list[int]:
    """Indices of rows in lexicographic order of their tokens, a prefix before its extensions."""
    keys = [row.astype(">i8").tobytes() for row in rows]
    return sorted(range(len(rows)), key=keys.__getitem__)


def branches(rows: Sequence[TokenArray], reads: Sequence[int]) -> list[Branch]:
    """Sorted rows as branches of one tree; `reads` are the numbers of positions read at the end of each row."""
    made: list[Branch] = []
    before: TokenArray = np.empty(0, dtype=np.int64)
    for tokens, count in zip(rows, reads, strict=True):
        start = min(_common(before, tokens), len(tokens) - count)
        made.append(Branch(tokens, start, count))
        before = tokens
    return made


def chunks(of: Sequence[Branch], most: int) -> Iterator[Sequence[Branch]]:
    """Branches grouped into chunks of at most `most` nodes; at least one branch each."""
    begin, nodes = 0, 0
    for index, branch in enumerate(of):
        if index > begin and nodes + branch.nodes > most:
            yield of[begin:index]
            begin, nodes = index, 0
        nodes += branch.nodes
    if begin < len(of):
        yield of[begin:]


def pack(of: Sequence[Branch], carried: int) -> Chunk:
    """The chunk of these branches, after `carried` nodes (the whole row before the first branch, or 0)."""
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
    """Length of the common prefix of two rows."""
    shorter = min(len(first), len(second))
    differs = first[:shorter] != second[:shorter]
    return int(differs.argmax()) if differs.any() else shorter
