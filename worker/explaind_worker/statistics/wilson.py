"""Wilson score interval of a proportion."""

from math import sqrt
from statistics import NormalDist


def wilson(right: int, count: int, confidence: float) -> tuple[float, float]:
    """Wilson's score interval [low, high] of the share `right / count` (Wilson 1927).

    Without observations it is [0, 1].
    """
    if count == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, widening = right / count, z * z / count
    middle = (share + widening / 2) / (1 + widening)
    half = z / (1 + widening) * sqrt(share * (1 - share) / count + widening / (4 * count))
    # At 0 and 1 the interval is exact; rounding must not change that.
    return (0.0 if right == 0 else middle - half), (1.0 if right == count else middle + half)
