"""Finds what the rows of a batch have in common at their beginning, so that it is evaluated once."""

import numpy as np

from explaind_worker.engine.players import TokenArray

# A second forward and the copying of keys and values must be earned by so much less to evaluate.
WORTH = 0.75


def best_split(rows: TokenArray, longest: int) -> int:
    """Length of the prefix that is worth evaluating once for each distinct one; 0 when none is.

    `rows` [row, token] are sorted, so that equal prefixes stand together. With a prefix of k tokens of which d are
    distinct, d k + n (length − k) tokens are evaluated instead of n length.
    """
    count, length = rows.shape
    if count < 2 or longest < 1:
        return 0
    differs = rows[1:] != rows[:-1]
    first_difference = np.sort(np.where(differs.any(axis=1), differs.argmax(axis=1), length))
    prefix = np.arange(1, longest + 1)
    distinct = 1 + np.searchsorted(first_difference, prefix, side="left")
    tokens = distinct * prefix + count * (length - prefix)
    best = int(tokens.argmin())
    return int(prefix[best]) if tokens[best] <= WORTH * count * length else 0
