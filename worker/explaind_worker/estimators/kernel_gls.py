"""KernelSHAP by generalized least squares: models higher-order interactions instead of treating them as noise."""

from math import lgamma

import numpy as np

from explaind_worker.estimators.estimate import BoolArray, Estimate, FloatArray, widened

# Prior: the contribution of order-q interactions to a score decays as REACH^q / q!, so orders 3 and 5 are alike.
REACH = 3.0
NOISE = 1e-3  # of a pair's prior variance: rounding of the model, and effects outside the prior
# What is expected of the interactions' variance before any is seen: this share of the single units', with the weight of
# one degree of freedom. A handful of pairs may miss every interaction there is.
EXPECTED, EXPECTED_FREEDOM = 0.1, 1
FEWEST_LEFT = 3  # degrees of freedom that the single units leave, for standard errors
PAIRS = 2048  # beyond this the matrix [pair, pair] costs more than the evaluations it saves
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(24)


def estimate(half: BoolArray, difference: FloatArray, change: FloatArray) -> Estimate:
    """Values [unit, column] and standard errors [unit] from `half` [pair, unit], one side of each pair.

    `difference` [pair, column] is a coalition's score minus its complement's, `change` [column] full minus empty.
    In a pair's difference the interactions of even order cancel (Covert & Lee 2021, §4.2). What is left is a sum of
    products of an odd number of the units' signs. Single units are fitted freely; products of q ≥ 3 signs are
    Gaussian with variance rho^q, which makes this generalized least squares, and the best linear unbiased predictor
    of Shapley values, in which a product of q signs counts 1/q for each of its units (Rasmussen & Williams 2006,
    §2.7). Errors are the posterior's, with the scale of the residuals, which is itself unsure: Student's t (Gelman et
    al. 2013, Bayesian Data Analysis, §3.2). Linear in the scores; a game without interactions is recovered exactly.
    """
    pairs, units = half.shape
    rho = min(0.5, REACH / units)
    signs = np.vstack([np.where(half, 1.0, -1.0), np.ones(units)])  # the last row: full minus empty
    observed = np.vstack([difference, change])
    covariance = _covariance((units + signs @ signs.T) / 2, units, rho)
    prior = _covariance(np.array([float(units)]), units, rho)[0]
    covariance[np.diag_indices(pairs + 1)] += np.where(np.arange(pairs + 1) < pairs, NOISE, 1e-10) * prior
    reach = _reach_of_pairs(signs, rho)  # [pair, unit]
    solved = np.linalg.solve(covariance, np.hstack([signs, observed, reach]))
    by_signs, by_scores, by_reach = np.split(solved, [units, solved.shape[1] - units], axis=1)
    inverse = np.linalg.pinv(signs.T @ by_signs, hermitian=True)
    single = inverse @ (signs.T @ by_scores)  # [unit, column]
    values = single + reach.T @ (by_scores - by_signs @ single)
    values += (change - values.sum(axis=0)) / units  # rounding errors
    freedom = pairs + 1 - units
    if np.linalg.matrix_rank(signs) < units or freedom < FEWEST_LEFT:
        return Estimate(values, None, unsure(pairs, units))
    total = observed.sum(axis=1)
    residual = total - signs @ single.sum(axis=1)
    weighted = by_scores.sum(axis=1) - by_signs @ single.sum(axis=1)
    moved = np.eye(units) - reach.T @ by_signs
    variance = (
        _prior_variance(units, rho) - (reach * by_reach).sum(axis=0) + np.einsum("ij,jk,ik->i", moved, inverse, moved)
    )
    expected = EXPECTED / rho * float((single.sum(axis=1) ** 2).mean())
    freedom += EXPECTED_FREEDOM
    scale = (EXPECTED_FREEDOM * expected + max(float(residual @ weighted), 0.0)) / freedom
    return Estimate(values, widened(variance * scale, freedom))


def unsure(pairs: int, units: int) -> str:
    """Why values of so few pairs have no standard errors."""
    return (
        f"There are no standard errors: {pairs} pairs of coalitions leave too little beside the {units} values to say "
        f"how far off they are. Raise the budget; {4 * units} evaluations and more say it well."
    )


def _covariance(agreeing: FloatArray, units: int, rho: float) -> FloatArray:
    """Prior covariance of the differences of two pairs whose signs agree in `agreeing` units.

    The sum over odd q ≥ 3 of rho^q e_q(products of signs), from the generating function of the elementary
    symmetric polynomials.
    """
    plus = (1 + rho) ** agreeing * (1 - rho) ** (units - agreeing)
    minus = (1 - rho) ** agreeing * (1 + rho) ** (units - agreeing)
    return (plus - minus) / 2 - rho * (2 * agreeing - units)


def _reach_of_pairs(signs: FloatArray, rho: float) -> FloatArray:
    """Prior covariance [pair, unit] of a pair's difference and a unit's Shapley value, without first-order terms.

    It is sign_i times the integral over u from 0 to rho of the sum of u^(q−1) e_(q−1)(signs of the others).
    """
    units = signs.shape[1]
    u, weights = (_NODES + 1) * rho / 2, _NODE_WEIGHTS * rho / 2
    present = np.arange(units)[:, None]  # number among the others: [count, node]
    even = ((1 + u) ** present * (1 - u) ** (units - 1 - present)) / 2
    even = even + even[::-1] - 1
    of_count = even @ weights
    others = (signs > 0).sum(axis=1)[:, None] - (signs > 0)
    return signs * of_count[others]


def _prior_variance(units: int, rho: float) -> float:
    """Prior variance of a Shapley value without first-order terms: sum over odd q ≥ 3 of C(n−1, q−1) rho^q / q²."""
    orders = np.arange(3, min(units, 61) + 1, 2)
    ways = [lgamma(units) - lgamma(q) - lgamma(units - q + 1) for q in orders.tolist()]
    return float(np.sum(np.exp(np.array(ways) + orders * np.log(rho)) / orders**2))
