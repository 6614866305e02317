"""Deletion and insertion curves: the score as units are removed, or inserted, in some order.

Petsiuk et al. 2018, RISE (deletion and insertion, area under the curve).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from explaind_worker.estimators.estimate import BoolArray, FloatArray

IntArray = NDArray[np.int64]


class Removal:
    """The coalitions of a deletion and an insertion in one order of the units, and in random orders for comparison.

    `coalitions` [coalition, unit] are distinct. `order` [unit] lists the units in order of removal; `counts` [point],
    ascending from 0 to all units, are the numbers removed at each point.
    """

    def __init__(self, order: IntArray, counts: Sequence[int], random_orders: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        random = np.stack([rng.permutation(len(order)) for _ in range(random_orders)])
        # A random order is inserted from its end: it is equally random, and shares its coalitions with the deletion.
        removed = _gone(np.vstack([order[None], random]), counts)
        inserted = _gone(np.vstack([order[None], random[:, ::-1]]), counts)
        asked = np.stack([~removed, inserted])  # [way, order, point, unit]
        self.coalitions, place = np.unique(asked.reshape(-1, len(order)), axis=0, return_inverse=True)
        self._place = place.reshape(asked.shape[:3])

    def curves(self, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Deletion and insertion [order, point] from the scores [coalition]; the first order is the given one."""
        deletion, insertion = scores[self._place]
        return deletion, insertion


def descending(values: FloatArray) -> IntArray:
    """The units [unit] by decreasing `values` [unit], ties in the original order."""
    return np.argsort(-values, kind="stable")


def areas(x: FloatArray, curves: FloatArray) -> FloatArray:
    """The area [order] under each of `curves` [order, point] over `x` [point], by the trapezoidal rule."""
    return ((curves[:, 1:] + curves[:, :-1]) / 2 * np.diff(x)).sum(axis=1)


def _gone(orders: IntArray, counts: Sequence[int]) -> BoolArray:
    """Which units [order, point, unit] are among the first `counts` of each order [order, unit]."""
    rank = np.argsort(orders, axis=1)
    return rank[:, None, :] < np.asarray(counts)[None, :, None]
