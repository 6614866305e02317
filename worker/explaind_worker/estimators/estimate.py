"""Common interface and result of the estimators."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]

SHARED = 4  # degrees of freedom of the variance that all units share, beside a unit's own


@dataclass(frozen=True)
class Estimate:
    """`values` [unit, column]; `standard_errors` [unit] of the values summed over columns, None when not sampled.

    `unsure` says why sampled values have no standard errors.
    """

    values: FloatArray
    standard_errors: FloatArray | None
    unsure: str | None = None


class Estimator(Protocol):
    """Coalitions to evaluate, and the estimate from their scores.

    `coalitions` [coalition, unit] begins with the empty one and ends with the full one.
    """

    name: str
    coalitions: BoolArray

    def estimate(self, scores: FloatArray) -> Estimate:
        """Unit values from the scores [coalition, column] of `coalitions`, in their order."""
        ...


def widened(variance: FloatArray, freedom: float) -> FloatArray:
    """Standard errors of a `variance` that was itself estimated, with so many degrees of freedom (over 2).

    An error divided by its estimated size is Student's t, whose variance is freedom / (freedom − 2): without that
    factor ±1.96 standard errors hold the true value less often than in 95 % of cases, with it they do (Student 1908;
    Gelman et al. 2013, Bayesian Data Analysis, §3.2).
    """
    return np.sqrt(np.maximum(variance, 0.0) * freedom / (freedom - 2))


def moderated(variances: FloatArray, draws: int) -> FloatArray:
    """Standard errors [...] of means over so many draws, from the draws' `variances` [...] of every unit or pair.

    From a handful of draws a unit's own variance says little: where a gain is rare it is 0 as long as none was met.
    Each is drawn towards the mean of all with the weight of `SHARED` degrees of freedom (Smyth 2004, eq. 6).
    """
    freedom = draws - 1
    shared = (SHARED * variances.mean() + freedom * variances) / (SHARED + freedom)
    return widened(shared / draws, SHARED + freedom)


def empty_and_full(interior: BoolArray) -> BoolArray:
    """The coalitions with the empty one before and the full one after them."""
    units = interior.shape[1]
    return np.concatenate([np.zeros((1, units), dtype=bool), interior, np.ones((1, units), dtype=bool)])
