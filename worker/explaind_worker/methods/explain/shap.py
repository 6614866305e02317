"""explain/shap: Shapley values, exact, sampled or along a hierarchy."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import numpy as np

from explaind.contract.blocks.attribution_result import Attribution, Interactions, StoppingReason
from explaind.contract.errors import BudgetTooSmall, TooManyUnits
from explaind.contract.methods.explain.shap import MAX_EXACT_UNITS, ShapParams
from explaind_worker.attribution.coalition_game import CoalitionGame
from explaind_worker.engine.scoring.masker import BoolArray
from explaind_worker.estimators import interactions, kernel, permutation
from explaind_worker.estimators.estimate import Estimate, Estimator
from explaind_worker.estimators.exact import ExactShapley
from explaind_worker.estimators.hierarchy import hierarchy
from explaind_worker.estimators.interactions import ExactInteractions, SampledInteractions
from explaind_worker.estimators.kernel import KernelShapley
from explaind_worker.estimators.permutation import PermutationShapley
from explaind_worker.libraries import shap_partition
from explaind_worker.session.session import Session

# With fewer evaluations per unit a regression has larger errors than permutations.
KERNEL_PER_UNIT = 4
# First budget of `budget: "auto"`: with fewer evaluations, a standard error is itself unreliable.
FIRST_LOOK, FIRST_LOOK_PER_UNIT = 64, 6
SMALLER_UNITS_HINT = "Raise it, or explain by larger units (sentence, or segments of your own)."

Reason = Literal["tolerance", "budget", "exact"]


@dataclass(frozen=True)
class _Found:
    estimate: Estimate
    algorithm: str
    evaluations: int
    reason: Reason


def run(params: ShapParams, session: Session) -> Attribution:
    """Shapley values of the prompt's units.

    Raises:
        TooManyUnits: exact values are infeasible for that many units.
        BudgetTooSmall: the budget is too small to determine all values, or interactions.
    """
    game = CoalitionGame(params, session)
    _check_interactions(params, len(game.units))
    if params.algorithm == "partition" and len(game.units) > 1:
        found = _partition(params, game)
    else:
        found = _sampled(params, game, session)
    result = game.attribution(
        found.estimate.values,
        algorithm=found.algorithm,
        evaluations=found.evaluations,
        standard_errors=found.estimate.standard_errors,
    )
    unsure = [] if found.estimate.unsure is None else [found.estimate.unsure]
    pairs = _interactions(params, game, found, session) if params.interactions else None
    if pairs is not None and pairs.standard_errors is None and not _all_fit(params, len(game.units)):
        unsure.append(interactions.unsure(len(game.units)))
    return result.model_copy(
        update={
            "notes": [*result.notes, *unsure],
            "stopped": _stopped(params, found) if params.budget == "auto" else None,
            "interactions": pairs,
        }
    )


def choose(params: ShapParams, units: int, budget: int) -> Estimator:
    """The estimator: the requested one, or for `auto` the most exact one within the budget."""
    algorithm = params.algorithm
    if algorithm == "auto":
        if units <= MAX_EXACT_UNITS and 2**units <= budget:
            algorithm = "exact"
        else:
            algorithm = "kernel" if budget >= KERNEL_PER_UNIT * units else "permutation"
    if algorithm == "exact" or units == 1:
        _check_exact(units)
        return ExactShapley(units)
    rule = kernel if algorithm == "kernel" else permutation
    needed = rule.smallest_budget(units)
    if budget < needed:
        raise BudgetTooSmall.at(
            _budget_field(params),
            f"{algorithm} needs at least {needed} evaluations for {units} units; the budget is {budget}.",
            hint=SMALLER_UNITS_HINT,
        )
    if algorithm == "kernel":
        return KernelShapley(units, budget, params.seed)
    return PermutationShapley(units, budget, params.seed)


def _sampled(params: ShapParams, game: CoalitionGame, session: Session) -> _Found:
    """One estimate with the given budget, or several, doubling the budget each time.

    With one seed a larger budget evaluates the same coalitions and more. So stopping early gives the result of that
    budget, no evaluation is wasted, and the few repetitions hardly bias the standard errors.
    """
    asked: set[bytes] = set()
    looks = list(_looks(params, len(game.units)))
    for budget in looks:
        estimator = choose(params, len(game.units), budget)
        with nullcontext() if len(looks) == 1 else session.job.phase(f"budget {budget}"):
            estimate = estimator.estimate(game.play(estimator.coalitions))
        asked.update(_names(estimator.coalitions))
        largest, reason = _largest(estimate, estimator.name), None
        if largest == 0:
            reason = "exact"
        elif largest is not None and largest <= params.tolerance:
            reason = "tolerance"
        if reason is not None or budget == looks[-1]:
            evaluations = len(estimator.coalitions) if len(looks) == 1 else len(asked)
            return _Found(estimate, estimator.name, evaluations, reason or "budget")
    raise AssertionError("there is always a last look")  # pragma: no cover


def _looks(params: ShapParams, units: int) -> Iterator[int]:
    """Budgets to try, each twice the one before."""
    most = _most(params)
    budget = max(FIRST_LOOK, FIRST_LOOK_PER_UNIT * units)
    while params.budget == "auto" and budget < most:
        yield budget
        budget *= 2
    yield most


def _partition(params: ShapParams, game: CoalitionGame) -> _Found:
    """Owen values (shap's PartitionExplainer) in a hierarchy of message, sentence, word and unit.

    Neighbours within a group, and groups within the next level, are joined in balanced halves. Owen values have no
    standard error: the hierarchy is opened where the score changes most, and only the order of ties is random.
    """
    clustering, most = hierarchy(game.places), _most(params)
    if params.budget == "auto":
        most = min(most, shap_partition.whole(clustering))
    drawing = game.drawing(most)
    values, evaluations, complete = shap_partition.partition(
        game.play, clustering, budget=most, seed=params.seed, while_waiting=lambda: drawing(0)
    )
    return _Found(Estimate(values, None), "partition", evaluations, "exact" if complete else "budget")


def _stopped(params: ShapParams, found: _Found) -> StoppingReason:
    largest = 0.0 if found.reason == "exact" else _largest(found.estimate, found.algorithm)
    return StoppingReason(reason=found.reason, tolerance=params.tolerance, largest_standard_error=largest)


def _interactions(params: ShapParams, game: CoalitionGame, found: _Found, session: Session) -> Interactions:
    units = len(game.units)
    if _all_fit(params, units):
        estimator = ExactInteractions(units)
    else:
        budget = max(found.evaluations, interactions.round_cost(units))
        estimator = SampledInteractions(units, budget, params.seed)
    with session.job.phase("interactions"):
        estimate = estimator.estimate(game.play(estimator.coalitions))
    errors = estimate.standard_errors
    return Interactions(
        values=estimate.values.tolist(),
        standard_errors=None if errors is None else errors.tolist(),
        evaluations=len(set(_names(estimator.coalitions))),
    )


def _check_interactions(params: ShapParams, units: int) -> None:
    if not params.interactions or _all_fit(params, units):
        return
    needed = interactions.round_cost(units)
    if _most(params) < needed:
        raise BudgetTooSmall.at(
            _budget_field(params),
            f"Interactions of {units} units take at least {needed} evaluations; the budget is {_most(params)}.",
            hint=SMALLER_UNITS_HINT,
        )


def _check_exact(units: int) -> None:
    if units > MAX_EXACT_UNITS:
        raise TooManyUnits.at(
            "/algorithm",
            f"Exact Shapley values of {units} units take {2**units:,} evaluations; at most {MAX_EXACT_UNITS} units.",
            hint='Choose "kernel" or "permutation", or larger units.',
        )


def _all_fit(params: ShapParams, units: int) -> bool:
    return units <= MAX_EXACT_UNITS and (params.algorithm == "exact" or 2**units <= _most(params))


def _most(params: ShapParams) -> int:
    return params.max_budget if params.budget == "auto" else params.budget


def _budget_field(params: ShapParams) -> str:
    return "/max_budget" if params.budget == "auto" else "/budget"


def _largest(estimate: Estimate, algorithm: str) -> float | None:
    if algorithm == "exact":
        return 0.0
    return None if estimate.standard_errors is None else float(estimate.standard_errors.max())


def _names(coalitions: BoolArray) -> Iterator[bytes]:
    return (row.tobytes() for row in np.packbits(coalitions, axis=1))
