"""Exact Shapley values from all 2^n coalitions."""

from math import factorial

import numpy as np

from explaind_worker.estimators.estimate import BoolArray, Estimate, FloatArray


class ExactShapley:
    """Shapley values by their definition, over every coalition (Shapley 1953, eq. 12)."""

    name = "exact"

    def __init__(self, units: int) -> None:
        self._units = units
        self.coalitions: BoolArray = (np.arange(2**units)[:, None] >> np.arange(units) & 1).astype(bool)

    def estimate(self, scores: FloatArray) -> Estimate:
        """Values [unit, column] from scores [coalition, column]; coalition i holds the units of i's set bits."""
        n = self._units
        sizes = self.coalitions.sum(axis=1)
        weight_of_size = np.array([factorial(s) * factorial(n - s - 1) / factorial(n) for s in range(n)])
        values = np.empty((n, scores.shape[1]))
        for unit in range(n):
            without = np.flatnonzero(~self.coalitions[:, unit])
            gain = scores[without | (1 << unit)] - scores[without]
            values[unit] = weight_of_size[sizes[without]] @ gain
        return Estimate(values, None)
