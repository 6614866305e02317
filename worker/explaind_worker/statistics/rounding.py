"""Rounding error of a model's scores: how large a difference between two of them can be when nothing differs.

Two causes add up. What a layer writes is rounded to the model's dtype, and layers pass few such errors on undamped;
sums inside a layer are taken in float32 whatever the dtype, in an order that depends on the batch and the processor.
"""

import numpy as np

WRITES = 4  # roundings to the dtype that reach a score
SUMS = 64  # roundings to float32 on the way, in long sums
FLOAT32_EPS = float(np.finfo(np.float32).eps)


def rounding_error(size: float, *, eps: float) -> float:
    """The largest difference that rounding makes between scores of that size, in a dtype of that eps."""
    return size * (WRITES * eps + SUMS * min(eps, FLOAT32_EPS))


def alike(one: float, other: float, *, size: float, eps: float) -> bool:
    """Whether two scores differ by no more than rounding; `size` is that of the numbers they are computed from."""
    return abs(one - other) <= rounding_error(max(size, abs(one), abs(other)), eps=eps)
