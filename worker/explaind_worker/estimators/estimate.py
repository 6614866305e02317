"""What every estimator is and gives."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """`values` [unit, column]; `standard_errors` [unit] of the values summed over columns, None when not sampled."""

    values: FloatArray
    standard_errors: FloatArray | None


class Estimator(Protocol):
    """A plan of coalitions and the reading of their scores.

    `coalitions` [coalition, unit] begins with the empty one and ends with the full one.
    """

    name: str
    coalitions: BoolArray

    def estimate(self, scores: FloatArray) -> Estimate:
        """Unit values from the scores [coalition, column] of `coalitions`, in their order."""
        ...


def empty_and_full(interior: BoolArray) -> BoolArray:
    """The coalitions with the empty one before and the full one after them."""
    units = interior.shape[1]
    return np.concatenate([np.zeros((1, units), dtype=bool), interior, np.ones((1, units), dtype=bool)])
