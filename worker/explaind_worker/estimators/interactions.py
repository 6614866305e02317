"""Shapley interaction indices of pairs of units, exact or sampled."""

from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

from explaind_worker.estimators.estimate import BoolArray, FloatArray, moderated

FEWEST_ROUNDS = 4  # for standard errors


@dataclass(frozen=True)
class PairEstimate:
    """`values` [unit, unit], symmetric with zero diagonal; `standard_errors` likewise, None if unknown."""

    values: FloatArray
    standard_errors: FloatArray | None


class ExactInteractions:
    """Interaction indices by definition, over every coalition (Grabisch & Roubens 1999, definition 3).

    The index of i and j is the mean, over sizes of the others present and then over which, of
    v(S ∪ ij) − v(S ∪ i) − v(S ∪ j) + v(S).
    """

    def __init__(self, units: int) -> None:
        self._units = units
        self.coalitions: BoolArray = (np.arange(2**units)[:, None] >> np.arange(units) & 1).astype(bool)

    def estimate(self, scores: FloatArray) -> PairEstimate:
        """Indices from scores [coalition, column], summed over columns; coalition i holds the units of i's set bits."""
        n, total = self._units, scores.sum(axis=1)
        values = np.zeros((n, n))
        sizes = self.coalitions.sum(axis=1)
        weight_of_size = np.array([1 / ((n - 1) * comb(n - 2, s)) for s in range(n - 1)])
        for i in range(n):
            for j in range(i):
                s = np.flatnonzero(~self.coalitions[:, i] & ~self.coalitions[:, j])
                a, b = 1 << i, 1 << j
                mixed = total[s | a | b] - total[s | a] - total[s | b] + total[s]
                values[i, j] = values[j, i] = weight_of_size[sizes[s]] @ mixed
        return PairEstimate(values, None)


class SampledInteractions:
    """Unbiased interaction indices from walks through random orders: units that enter consecutively form a pair.

    The coalition before two neighbours of a random order has a uniform size, and is uniform given its size, which is
    the index's own weighting. The walks of a round are zigzags through the units, relabelled at random, so that every
    pair occurs equally often: once in n / 2 walks where n is even, twice in n walks where it is odd (Lucas'
    decomposition of a complete graph into paths). Standard errors come from the spread between rounds.
    """

    def __init__(self, units: int, budget: int, seed: int) -> None:
        rng = np.random.default_rng([seed, 2])
        self._units = units
        self._rounds = max(1, budget // round_cost(units))
        walks = _zigzags(units)
        self._orders = np.concatenate([rng.permutation(units)[walks] for _ in range(self._rounds)])  # [walk, step]
        rank = np.argsort(self._orders, axis=1)
        steps = np.arange(units - 1)
        before = rank[:, None, :] < steps[None, :, None]  # [walk, step, unit]
        first, second = (np.eye(units, dtype=bool)[self._orders[:, s]] for s in (slice(None, -1), slice(1, None)))
        corners = np.stack([before, before | first, before | second, before | first | second])
        self.coalitions: BoolArray = corners.reshape(-1, units)

    def estimate(self, scores: FloatArray) -> PairEstimate:
        """Indices from scores [coalition, column], summed over columns."""
        n = self._units
        base, one, other, both = scores.sum(axis=1).reshape(4, len(self._orders), n - 1)
        mixed = (both - one - other + base).reshape(self._rounds, -1)
        left = self._orders[:, :-1].reshape(self._rounds, -1)
        right = self._orders[:, 1:].reshape(self._rounds, -1)
        of_round = np.zeros((self._rounds, n, n))
        at = np.arange(self._rounds)[:, None]
        np.add.at(of_round, (at, left, right), mixed)
        np.add.at(of_round, (at, right, left), mixed)
        of_round /= 1 if n % 2 == 0 else 2
        errors = None
        if self._rounds >= FEWEST_ROUNDS:
            errors = np.zeros((n, n))
            pairs = ~np.eye(n, dtype=bool)
            errors[pairs] = moderated(of_round.var(axis=0, ddof=1)[pairs], self._rounds)
        return PairEstimate(of_round.mean(axis=0), errors)


def unsure(units: int) -> str:
    """Why interactions that were sampled in few rounds have no standard errors."""
    return (
        f"The interactions have no standard errors: every pair of the {units} units was met in too few rounds. A "
        f"budget of {FEWEST_ROUNDS * round_cost(units)} has {FEWEST_ROUNDS}."
    )


def round_cost(units: int) -> int:
    """Maximum number of distinct evaluations that cover every pair: walk and sidestep of each step of each walk."""
    return len(_zigzags(units)) * 2 * (units - 1)


def _zigzags(units: int) -> NDArray[np.int64]:
    """Walks [walk, step] through all units in which every pair is adjacent equally often."""
    steps = np.arange(units)
    zigzag = np.where(steps % 2 == 0, steps // 2, units - 1 - steps // 2)
    walks = units // 2 if units % 2 == 0 else units
    return (zigzag[None, :] + np.arange(walks)[:, None]) % units
