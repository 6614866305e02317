"""Shapley values as a weighted regression over paired coalitions (KernelSHAP)."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from explaind_worker.estimators import kernel_gls
from explaind_worker.estimators.estimate import BoolArray, Estimate, FloatArray, empty_and_full

PART = 4096  # pairs converted to floating point at once
SURE_PER_UNIT = 2  # pairs per unit under which the residuals of least squares are too small to say how far off it is
LISTED = 20_000  # most pairs of a size that are listed to draw from; of more, distinct random ones are drawn


@dataclass(frozen=True)
class _Stratum:
    """Coalitions of `size` units and their complements: number of pairs, and kernel weight."""

    size: int
    pairs: int
    weight: float


class KernelShapley:
    """KernelSHAP with paired, stratified coalitions.

    The Shapley kernel's weight is spread over coalition sizes (Lundberg & Lee 2017, eq. 7 and theorem 2). Sizes that
    the budget covers are enumerated; over the rest, sizes are drawn systematically in proportion to their weight and
    coalitions without replacement, each with its complement (Covert & Lee 2021, §4.2). A larger budget under the same
    seed evaluates the same coalitions and more. Up to `kernel_gls.PAIRS` pairs the regression models interactions of
    odd order (`kernel_gls.estimate`); above, it is weighted least squares, constrained to add up to full − empty, with
    the sandwich variance over pairs, within sizes, with leverage and finite population corrections. Errors are zero if
    every coalition is evaluated.
    """

    name = "kernel"

    def __init__(self, units: int, budget: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._units = units
        halves: list[BoolArray] = []
        weights: list[float] = []
        strata: list[int] = []
        left, rest = (budget - 2) // 2, _strata(units)
        rest_weight = sum(s.weight for s in rest)
        # A size is enumerated if its share of the remaining budget covers it, smallest (and heaviest) sizes first.
        while rest and left * rest[0].weight / rest_weight >= rest[0].pairs - 1e-9:
            whole = rest.pop(0)
            halves.append(_all_of(whole, units))
            weights += [whole.weight / whole.pairs] * whole.pairs
            strata += [-1] * whole.pairs
            left -= whole.pairs
            rest_weight -= whole.weight
        self._population: dict[int, int] = {}
        if rest and left > 0:
            counts = _systematic_counts(np.array([s.weight for s in rest]), left, rng)
            counts = np.minimum(counts, [min(s.pairs, left) for s in rest])
            drawn = int(counts.sum())
            for stratum, count in zip(rest, counts, strict=True):
                if count:
                    # A separate random stream per size, so that a larger budget extends the draws of a smaller one.
                    own = np.random.default_rng([seed, stratum.size])
                    halves.append(_draw(stratum, int(count), units, own))
                    weights += [rest_weight / drawn] * int(count)
                    strata += [stratum.size] * int(count)
                    self._population[stratum.size] = stratum.pairs
        self._half = np.concatenate(halves)  # [pair, unit]; the other half are the complements
        self._weights = np.array(weights) / sum(weights)
        self._strata = np.array(strata)
        self.coalitions: BoolArray = empty_and_full(np.concatenate([self._half, ~self._half]))

    def estimate(self, scores: FloatArray) -> Estimate:
        """Values [unit, column] and standard errors [unit] from scores [coalition, column]."""
        # Only the difference of a pair's scores carries information; their sum is fixed by the constraint on the sum.
        pairs, change = len(self._half), scores[-1] - scores[0]
        difference = scores[1 : 1 + pairs] - scores[1 + pairs : -1]  # [pair, column]
        if self._population and self._units <= pairs <= kernel_gls.PAIRS:
            return kernel_gls.estimate(self._half, difference, change)
        return self._weighted(difference, change)

    def _weighted(self, difference: FloatArray, change: FloatArray) -> Estimate:
        # The constraint decides along the all-ones direction; 1/n there makes the matrix regular and changes nothing.
        moment = np.full((self._units, self._units), 1 / self._units)  # [unit, unit]
        target = np.outer(np.full(self._units, 1 / self._units), change)  # [unit, column]
        for part, sides in self._sides():
            weighted = sides.T * self._weights[part]
            moment += weighted @ sides
            target += weighted @ difference[part]
        solve = np.linalg.pinv(moment, hermitian=True)
        ones = solve.sum(axis=1)
        free = solve @ target
        values = free - np.outer(ones, (free.sum(axis=0) - change) / ones.sum())
        project = solve - np.outer(ones, ones) / ones.sum()  # preserves the sum of the values
        if (self._strata >= 0).any() and len(self._half) < SURE_PER_UNIT * self._units:
            return Estimate(values, None, kernel_gls.unsure(len(self._half), self._units))
        return Estimate(values, self._errors(difference.sum(axis=1), values.sum(axis=1), project))

    def _errors(self, difference: FloatArray, values: FloatArray, project: FloatArray) -> FloatArray:
        sampled = self._strata >= 0
        if not sampled.any():
            return np.zeros(self._units)
        influence = _Moments(self._units)
        for part, sides in self._sides():
            pulled = sides @ project  # [pair, unit]
            # A pair with high leverage hides its own residual (MacKinnon & White 1985, HC3).
            leverage = np.minimum(self._weights[part] * (pulled * sides).sum(axis=1), 0.9)
            residual = (difference[part] - sides @ values) / (1 - leverage)
            influence.add(self._strata[part], residual[:, None] * pulled)
        share = self._weights[sampled].sum()
        return share / sampled.sum() * np.sqrt(influence.spread_within(self._population))

    def _sides(self) -> Iterator[tuple[slice, FloatArray]]:
        """The pairs in parts that fit in memory: present minus absent, +1 or −1, [pair, unit]."""
        for start in range(0, len(self._half), PART):
            part = slice(start, start + PART)
            yield part, np.where(self._half[part], 1.0, -1.0)


class _Moments:
    """Counts, sums and sums of squares of the pairs' influence [unit], by stratum."""

    def __init__(self, units: int) -> None:
        self._units = units
        self._count: dict[int, int] = {}
        self._sum: dict[int, FloatArray] = {}
        self._square: dict[int, FloatArray] = {}

    def add(self, strata: NDArray[np.int64], influence: FloatArray) -> None:
        """Adds pairs [pair, unit]; those of enumerated strata (−1) have no sampling error."""
        for size in np.unique(strata[strata >= 0]).tolist():
            members = influence[strata == size]
            self._count[size] = self._count.get(size, 0) + len(members)
            self._sum[size] = self._sum.get(size, np.zeros(self._units)) + members.sum(axis=0)
            self._square[size] = self._square.get(size, np.zeros(self._units)) + (members**2).sum(axis=0)

    def spread_within(self, population: dict[int, int]) -> FloatArray:
        """Sum of squared deviations from the stratum mean [unit], with finite population correction."""
        total = np.zeros(self._units)
        mean = sum(self._sum.values(), np.zeros(self._units)) / sum(self._count.values())
        for size, count in self._count.items():
            unseen = 1 - count / population[size]
            if count > 1:
                squares = self._square[size] - self._sum[size] ** 2 / count
                total += unseen * np.maximum(squares, 0.0) * count / (count - 1)
            else:
                # A size drawn once gives no estimate of its spread: the deviation from the overall mean is used.
                total += unseen * (self._sum[size] - mean) ** 2
        return total


def smallest_budget(units: int) -> int:
    """Fewest evaluations for which the regression is determined."""
    return 2 * units + 2


def _strata(units: int) -> list[_Stratum]:
    """Sizes 1 to n/2 with their complements; a size's kernel weight is (n − 1) / (s (n − s))."""
    strata = []
    for size in range(1, units // 2 + 1):
        mirrored = size != units - size
        pairs = comb(units, size) if mirrored else comb(units, size) // 2
        strata.append(_Stratum(size, pairs, (units - 1) / (size * (units - size)) * (2 if mirrored else 1)))
    return strata


def _all_of(stratum: _Stratum, units: int) -> BoolArray:
    """One of each pair of the stratum: [pair, unit]."""
    # In the middle size a coalition and its complement have the same size: keep those with unit 0.
    middle = 2 * stratum.size == units
    members = _combinations(units - 1, stratum.size - 1) + 1 if middle else _combinations(units, stratum.size)
    half = np.zeros((stratum.pairs, units), dtype=bool)
    np.put_along_axis(half, members, True, axis=1)
    if middle:
        half[:, 0] = True
    return half


def _combinations(of: int, size: int) -> NDArray[np.int64]:
    listed = list(combinations(range(of), size))
    return np.array(listed, dtype=np.int64).reshape(len(listed), size)


def _systematic_counts(weights: FloatArray, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each size is drawn: `draws` evenly spaced points with one random shift, in expectation ∝ weights."""
    edges = np.concatenate([[0.0], np.cumsum(weights / weights.sum())])
    edges[-1] = 1.0
    points = (np.arange(draws) + rng.random()) / draws
    return np.histogram(points, bins=edges)[0].astype(np.int64)


def _draw(stratum: _Stratum, count: int, units: int, rng: np.random.Generator) -> BoolArray:
    """`count` different pairs of the stratum, one side of each: [pair, unit]."""
    if stratum.pairs <= LISTED:
        return _all_of(stratum, units)[rng.permutation(stratum.pairs)[:count]]
    seen: dict[bytes, BoolArray] = {}
    while len(seen) < count:
        # The indices of the smallest of these random numbers are a random subset.
        wanted = min(PART, count - len(seen))
        members = np.argpartition(rng.random((wanted, units)), stratum.size, axis=1)[:, : stratum.size]
        half = np.zeros((wanted, units), dtype=bool)
        np.put_along_axis(half, members, True, axis=1)
        if 2 * stratum.size == units:
            half ^= ~half[:, :1]
        for coalition, packed in zip(half, np.packbits(half, axis=1), strict=True):
            seen.setdefault(packed.tobytes(), coalition)
    return np.stack(list(seen.values())[:count])
