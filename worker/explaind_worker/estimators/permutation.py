"""Shapley values from walks through random orders of the units, each order walked in both directions."""

import numpy as np

from explaind_worker.estimators.estimate import BoolArray, Estimate, FloatArray, empty_and_full, moderated

FEWEST_PAIRS = 4  # of walks, for standard errors


class PermutationShapley:
    """Antithetic permutation sampling (Mitchell et al. 2022, Sampling Permutations for Shapley Value Estimation, §4).

    Each pair of walks costs 2 (n − 1) evaluations; the empty and the full coalition are shared.
    """

    name = "permutation"

    def __init__(self, units: int, budget: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._units = units
        self._pairs = max(1, (budget - 2) // (2 * (units - 1)))
        orders = np.stack([rng.permutation(units) for _ in range(self._pairs)])
        self._orders = np.concatenate([orders, orders[:, ::-1]])  # [walk, step]: the second half are the reverses
        self.coalitions: BoolArray = empty_and_full(self._prefixes().reshape(-1, units))

    def _prefixes(self) -> BoolArray:
        """Units present after each step but the last: [walk, step, unit]."""
        rank = np.argsort(self._orders, axis=1)  # [walk, unit]: the step at which a unit enters
        steps = np.arange(self._units - 1)
        return rank[:, None, :] <= steps[None, :, None]

    def estimate(self, scores: FloatArray) -> Estimate:
        """Values [unit, column]: the mean gain of a unit on entering; standard errors from the spread between pairs."""
        walks, columns = len(self._orders), scores.shape[1]
        inner = scores[1:-1].reshape(walks, self._units - 1, columns)
        path = np.concatenate(
            [
                np.broadcast_to(scores[0], (walks, 1, columns)),
                inner,
                np.broadcast_to(scores[-1], (walks, 1, columns)),
            ],
            axis=1,
        )
        gains = np.empty((walks, self._units, columns))
        np.put_along_axis(gains, self._orders[:, :, None], np.diff(path, axis=1), axis=1)
        by_pair = (gains[: self._pairs] + gains[self._pairs :]) / 2
        values = by_pair.mean(axis=0)
        if self._pairs < FEWEST_PAIRS:
            return Estimate(values, None, unsure(self._pairs, self._units))
        return Estimate(values, moderated(by_pair.sum(axis=2).var(axis=0, ddof=1), self._pairs))


def unsure(pairs: int, units: int) -> str:
    """Why values of so few pairs of walks have no standard errors."""
    return (
        f"There are no standard errors: {pairs} pair{'' if pairs == 1 else 's'} of walks through the {units} units say "
        f"too little of how far apart walks lie. {FEWEST_PAIRS} pairs take a budget of "
        f"{2 + 2 * (units - 1) * FEWEST_PAIRS}."
    )


def smallest_budget(units: int) -> int:
    """Evaluations of one pair of walks, including the empty and the full coalition."""
    return 2 * units
