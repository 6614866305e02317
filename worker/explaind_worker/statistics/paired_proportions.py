"""How sure the difference of two shares is that were counted on the same questions.

Newcombe 1998, Improved confidence intervals for the difference between binomial proportions based on paired data,
Statistics in Medicine 17:2635.
"""

from math import sqrt

from explaind_worker.statistics.wilson import wilson


def paired_difference(both: int, first: int, second: int, neither: int, confidence: float) -> tuple[float, float]:
    """Newcombe's interval [low, high] of the first share minus the second (Newcombe 1998, method 10).

    The counts are of what was right both times, the first time only, the second time only, and never. Wilson's
    intervals of the two shares are joined by how far the two times go together, so that the ends stay within −1 and 1.
    Of no observations it is everything from −1 to 1.
    """
    count = both + first + second + neither
    if count == 0:
        return -1.0, 1.0
    one, other = (both + first) / count, (both + second) / count
    one_low, one_high = wilson(both + first, count, confidence)
    other_low, other_high = wilson(both + second, count, confidence)
    together = _correlation(both, first, second, neither)
    below = _joined(one - one_low, other_high - other, together)
    above = _joined(one_high - one, other - other_low, together)
    difference = (first - second) / count
    return max(-1.0, difference - below), min(1.0, difference + above)


def _joined(one: float, other: float, correlation: float) -> float:
    return sqrt(max(0.0, one * one - 2 * correlation * one * other + other * other))


def _correlation(both: int, first: int, second: int, neither: int) -> float:
    """The phi coefficient of the two times, drawn towards 0 by a continuity correction where it is positive."""
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    if margins == 0:
        return 0.0
    together = float(both * neither - first * second)
    if together > 0:
        together = max(together - (both + first + second + neither) / 2, 0.0)
    return together / sqrt(margins)
