"""Rounding error of a model's scores: the largest difference between two evaluations of the same score.

Two causes add up. A layer's output is rounded to the model's dtype, and few such errors reach the score undamped; sums
inside a layer are in float32 whatever the dtype, in an order that depends on batch and processor.
"""

import numpy as np

WRITES = 4  # roundings to the dtype that reach a score
SUMS = 64  # roundings to float32 on the way, in long sums
FLOAT32_EPS = float(np.finfo(np.float32).eps)


def rounding_error(size: float, *, eps: float) -> float:
    """The largest difference between scores of that size caused by rounding, in a dtype with that eps."""
    return size * (WRITES * eps + SUMS * min(eps, FLOAT32_EPS))


def alike(one: float, other: float, *, size: float, eps: float) -> bool:
    """Whether two scores differ by no more than rounding; `size` is the scale of the numbers behind them."""
    return abs(one - other) <= rounding_error(max(size, abs(one), abs(other)), eps=eps)
