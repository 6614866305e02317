"""Binary hierarchy of neighbouring units, in the format of scipy's linkage."""

from collections.abc import Hashable, Sequence
from itertools import groupby

import numpy as np

from explaind_worker.estimators.estimate import FloatArray


def hierarchy(keys: Sequence[Sequence[Hashable]]) -> FloatArray:
    """Merges [merge, (left, right, distance, size)] of the units, grouped by their `keys` [unit][level].

    Neighbours with the same key of the first level form a group, and so on within it by the further levels; groups not
    divided by further levels are joined in balanced halves. `distance` is the number of units joined.
    """
    merges: list[tuple[float, float, float, float]] = []
    units = len(keys)

    def join(nodes: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """Joins several nodes (node, size), in order, by halving; returns the new node."""
        if len(nodes) == 1:
            return nodes[0]
        middle = len(nodes) // 2
        left, right = join(nodes[:middle]), join(nodes[middle:])
        size = left[1] + right[1]
        merges.append((left[0], right[0], size, size))
        return units + len(merges) - 1, size

    def group(members: Sequence[int], level: int) -> tuple[int, int]:
        if level == len(keys[members[0]]):
            return join([(unit, 1) for unit in members])
        return join([group(list(same), level + 1) for _, same in groupby(members, key=lambda u: keys[u][level])])

    group(range(units), 0)
    return np.array(merges, dtype=np.float64).reshape(-1, 4)
