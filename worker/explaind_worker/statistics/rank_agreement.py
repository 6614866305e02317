"""Agreement of attributions of the same units: rank correlation, top-k overlap, cosine."""

import numpy as np

from explaind_worker.estimators.estimate import FloatArray


def spearman(values: FloatArray) -> FloatArray:
    """Rank correlation [method, method] of `values` [method, unit], with mean ranks for ties.

    NaN where a method's values are all equal; 1 on the diagonal.
    """
    ranks = np.stack([_mean_ranks(row) for row in values])
    return cosine(ranks - ranks.mean(axis=1, keepdims=True))


def cosine(values: FloatArray) -> FloatArray:
    """Cosine [method, method] of `values` [method, unit]; NaN if all of a method's are zero; 1 on the diagonal."""
    largest = np.abs(values).max(axis=1, keepdims=True)
    scaled = np.divide(values, largest, out=np.zeros_like(values), where=largest > 0)  # squares of tiny values vanish
    norms = np.linalg.norm(scaled, axis=1)
    lengths = np.outer(norms, norms)
    found = np.divide(scaled @ scaled.T, lengths, out=np.full(lengths.shape, np.nan), where=lengths > 0)
    np.fill_diagonal(found, 1.0)
    return np.clip(found, -1.0, 1.0)


def top_overlap(values: FloatArray, k: int) -> FloatArray:
    """Share [method, method] of the k units of the largest magnitude that two methods have in common.

    Krishna et al. 2022, The Disagreement Problem (feature agreement). Of equal magnitudes the earlier unit counts.
    """
    chosen = np.zeros(values.shape, dtype=np.int64)
    strongest = np.argsort(-np.abs(values), axis=1, kind="stable")[:, :k]
    np.put_along_axis(chosen, strongest, 1, axis=1)
    return (chosen @ chosen.T) / k


def _mean_ranks(values: FloatArray) -> FloatArray:
    """Ranks [unit] of `values` [unit] from 1; equal values get the mean of their ranks."""
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(sizes)
    return (ends - (sizes - 1) / 2)[group]
