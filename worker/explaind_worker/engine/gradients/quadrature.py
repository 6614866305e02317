"""Where along a path an integrand is evaluated, and how much each place counts."""

import numpy as np
from numpy.typing import NDArray

from explaind.contract.methods.explain.integrated_gradients import Quadrature

FloatArray = NDArray[np.float64]


def places_and_weights(rule: Quadrature, steps: int) -> tuple[FloatArray, FloatArray]:
    """Fractions [step] of the way from 0 to 1, and their weights [step], which add up to 1.

    They are captum's, but for the trapezoid: captum's weights add up to 1 - 1/steps there, so that its integrals
    fall short by that share.
    """
    if rule == "gausslegendre":  # exact for polynomials up to degree 2 * steps - 1
        places, weights = np.polynomial.legendre.leggauss(steps)
        return (places + 1) / 2, weights / 2
    if rule == "riemann_trapezoid":
        weights = np.full(steps, 1.0 / (steps - 1))
        weights[[0, -1]] /= 2
        return np.linspace(0.0, 1.0, steps), weights
    shift = {"riemann_left": 0.0, "riemann_middle": 0.5, "riemann_right": 1.0}[rule]
    return (np.arange(steps) + shift) / steps, np.full(steps, 1.0 / steps)
