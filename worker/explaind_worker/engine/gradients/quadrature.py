"""Quadrature rules: points along a path and their weights."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explaind.contract.methods.explain.integrated_gradients import Quadrature

FloatArray = NDArray[np.float64]

# Rules whose places at twice as many cells are those of before and the cells' middles.
NESTED = frozenset({"riemann_left", "riemann_right", "riemann_trapezoid"})


@dataclass(frozen=True)
class Refinement:
    """What is evaluated to have an integral by `steps` points: `places` [point] and their `weights` [point].

    The share `kept` of the integral before it is added.
    """

    steps: int
    places: FloatArray
    weights: FloatArray
    kept: float


def places_and_weights(rule: Quadrature, steps: int) -> tuple[FloatArray, FloatArray]:
    """Points [step] between 0 and 1, and their weights [step], which add up to 1.

    As in captum, except for the trapezoid rule: captum's weights add up to 1 - 1/steps, so its integrals are too small
    by that factor.
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


def refinements(rule: Quadrature, steps: int, most: int) -> Iterator[Refinement]:
    """The rule with `steps` points, then with twice as many each time, up to `most`.

    Where the points nest, half of the integral before is kept and only the points between are evaluated.
    """
    yield Refinement(steps, *places_and_weights(rule, steps), kept=0.0)
    if rule not in NESTED:
        while steps < most:
            steps = min(2 * steps, most)
            yield Refinement(steps, *places_and_weights(rule, steps), kept=0.0)
        return
    cells = steps - 1 if rule == "riemann_trapezoid" else steps
    while steps + cells <= most:
        places, weights = places_and_weights("riemann_middle", cells)
        steps, cells = steps + cells, 2 * cells
        yield Refinement(steps, places, weights / 2, kept=0.5)
