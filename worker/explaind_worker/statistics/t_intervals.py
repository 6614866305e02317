"""Student's t intervals of means."""

import math

import numpy as np

from explaind_worker.estimators.estimate import FloatArray

HALVINGS = 200  # bisections of the interval that contains the quantile; enough for every digit of a double


def mean_interval(values: FloatArray, confidence: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean over the last axis of `values` [..., sample] and the bounds of its interval, [...] each.

    The interval is Student's, mean ± t · s / √n with n − 1 degrees of freedom (Student 1908): exact for a normal
    sample, and wide enough for a handful of samples, unlike a percentile bootstrap. For differences between pairs it is
    that of the paired t test. NaN bounds for a single sample.
    """
    samples = values.shape[-1]
    mean = values.mean(axis=-1)
    if samples < 2:
        unknown = np.full(mean.shape, np.nan)
        return mean, unknown, unknown
    reach = t_quantile((1 + confidence) / 2, samples - 1) * values.std(axis=-1, ddof=1) / math.sqrt(samples)
    return mean, mean - reach, mean + reach


def t_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's distribution with that integer number of degrees of freedom; `probability` > 0.5."""
    low, high = 0.0, 1.0
    while t_probability(high, freedom) < probability:
        low, high = high, 2 * high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if t_probability(middle, freedom) < probability:
            low = middle
        else:
            high = middle
        if high - low <= 1e-15 * high:
            break
    return (low + high) / 2


def t_probability(t: float, freedom: int) -> float:
    """P(T ≤ t) for t ≥ 0: the finite sums of Abramowitz & Stegun, 26.7.3 and 26.7.4."""
    angle = math.atan2(t, math.sqrt(freedom))
    cosine, sine = math.cos(angle), math.sin(angle)
    odd = freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for step in range(1 if odd else 0, freedom - 1, 2):
        total += term
        term *= cosine * cosine * (step + 1) / (step + 2)
    inside = (angle + sine * total) * 2 / math.pi if odd else sine * total
    return 0.5 + inside / 2
