"""Distance between the means of two groups of vectors, compared with random groups of the same sizes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class TwoMeans:
    """Cosine and distance of two means, and those of random splits [split]."""

    cosine: float
    l2: float
    random_cosine: FloatArray
    random_l2: FloatArray

    @property
    def p(self) -> float:
        """Share of splits, including the given one, with means at least as far apart."""
        further = int((self.random_l2 >= self.l2 * (1 - 1e-9)).sum())
        return (1 + further) / (1 + len(self.random_l2))


def random_groups(chosen: NDArray[np.bool_], splits: int, seed: int) -> NDArray[np.bool_]:
    """Random groups [split, member], each with as many members as are `chosen`."""
    rng = np.random.default_rng(seed)
    return rng.permuted(np.tile(chosen, (splits, 1)), axis=1)


def two_means(vectors: NDArray[np.floating], chosen: NDArray[np.bool_], random: NDArray[np.bool_]) -> TwoMeans:
    """Compares the mean of the `chosen` [member] of vectors [member, width] with that of the rest; both non-empty."""
    cosines, distances = _apart(vectors.astype(np.float64), np.vstack([chosen, random]))
    return TwoMeans(float(cosines[0]), float(distances[0]), cosines[1:], distances[1:])


def _apart(vectors: FloatArray, groups: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """Cosines and distances [group] of the means inside and outside each group [group, member]."""
    inside = groups @ vectors / groups.sum(axis=1, keepdims=True)
    outside = ~groups @ vectors / (~groups).sum(axis=1, keepdims=True)
    norms = np.linalg.norm(inside, axis=1) * np.linalg.norm(outside, axis=1)
    products = (inside * outside).sum(axis=1)
    cosines = np.divide(products, norms, out=np.zeros_like(products), where=norms > 0)
    return np.clip(cosines, -1.0, 1.0), np.linalg.norm(inside - outside, axis=1)
