"""Shapley values as a weighted regression over paired coalitions (KernelSHAP)."""

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from explaind_worker.estimators.estimate import BoolArray, Estimate, FloatArray, empty_and_full


@dataclass(frozen=True)
class _Stratum:
    """Coalitions of `size` units and their complements: how many pairs there are, and their kernel weight."""

    size: int
    pairs: int
    weight: float


class KernelShapley:
    """KernelSHAP with paired, stratified coalitions.

    The Shapley kernel's weight is spread over coalition sizes (Lundberg & Lee 2017, eq. 7 and theorem 2). Sizes
    that the budget covers are enumerated; over the rest, sizes are drawn systematically in proportion to their
    weight and coalitions without replacement, each with its complement (Covert & Lee 2021, §4.2). The regression
    is constrained to add up to full − empty. Standard errors are the regression's sandwich variance over pairs,
    within sizes, with leverage and finite population corrections; they are zero when every coalition was asked for.
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
        # A size is enumerated when its share of what is left would cover it, smallest (and heaviest) sizes first.
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
                    halves.append(_draw(stratum, int(count), units, rng))
                    weights += [rest_weight / drawn] * int(count)
                    strata += [stratum.size] * int(count)
                    self._population[stratum.size] = stratum.pairs
        self._half = np.concatenate(halves)  # [pair, unit]; the other half are the complements
        self._weights = np.array(weights) / sum(weights)
        self._strata = np.array(strata)
        self.coalitions: BoolArray = empty_and_full(np.concatenate([self._half, ~self._half]))

    def estimate(self, scores: FloatArray) -> Estimate:
        """Values [unit, column] and standard errors [unit] from scores [coalition, column]."""
        base, change = scores[0], scores[-1] - scores[0]
        pairs = len(self._half)
        z = np.stack([self._half, ~self._half]).astype(np.float64)  # [side, pair, unit]
        y = (scores[1:-1] - base).reshape(2, pairs, -1)  # [side, pair, column]
        w = self._weights
        moment = np.einsum("spu,p,spv->uv", z, w, z, optimize=True) / 2
        target = np.einsum("spu,p,spc->uc", z, w, y, optimize=True) / 2
        solve = np.linalg.pinv(moment, hermitian=True)
        ones = solve.sum(axis=1)
        free = solve @ target
        values = free - np.outer(ones, (free.sum(axis=0) - change) / ones.sum())
        return Estimate(values, self._errors(z, y, values, solve))

    def _errors(self, z: FloatArray, y: FloatArray, values: FloatArray, solve: FloatArray) -> FloatArray | None:
        sampled = self._strata >= 0
        if not sampled.any():
            return np.zeros(self._units)
        residual = y.sum(axis=2) - z @ values.sum(axis=1)  # [side, pair]
        pull = np.einsum("sp,spu->pu", residual, z) / 2  # [pair, unit]: how each pair pulls the normal equations
        ones = solve.sum(axis=1)
        project = solve - np.outer(ones, ones) / ones.sum()  # keeps the sum of the values where it is
        # A pair that the fit leans on hides its own residual (MacKinnon & White 1985, HC3).
        sides = z[0] - z[1]
        leverage = self._weights * np.einsum("pu,uv,pv->p", sides, project, sides) / 4
        influence = (pull / (1 - np.minimum(leverage, 0.9))[:, None])[sampled] @ project
        strata, share = self._strata[sampled], self._weights[sampled].sum()
        spread = np.zeros(self._units)
        lonely = []
        for size in np.unique(strata):
            members = influence[strata == size]
            unseen = 1 - len(members) / self._population[int(size)]
            if len(members) > 1:
                spread += (
                    unseen * ((members - members.mean(axis=0)) ** 2).sum(axis=0) * len(members) / (len(members) - 1)
                )
            else:
                lonely.append(unseen * members[0])
        if len(strata) < 2:
            return None
        # A size drawn once says nothing of its own spread: the distance from the mean of all stands in for it.
        spread += ((np.array(lonely).reshape(-1, self._units) - influence.mean(axis=0)) ** 2).sum(axis=0)
        return share / len(strata) * np.sqrt(spread)


def smallest_budget(units: int) -> int:
    """Evaluations under which the regression is not determined."""
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
    # For the middle size a coalition and its complement have the same size: keep those with unit 0.
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
    if stratum.pairs <= 4 * count:
        return _all_of(stratum, units)[rng.choice(stratum.pairs, size=count, replace=False)]
    seen: dict[bytes, BoolArray] = {}
    while len(seen) < count:
        coalition = np.zeros(units, dtype=bool)
        coalition[rng.choice(units, size=stratum.size, replace=False)] = True
        if 2 * stratum.size == units and not coalition[0]:
            coalition = ~coalition
        seen.setdefault(np.packbits(coalition).tobytes(), coalition)
    return np.stack(list(seen.values()))
