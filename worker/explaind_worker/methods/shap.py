"""explain/shap: Shapley values, exact or sampled."""

from explaind.contract.blocks import Attribution
from explaind.contract.errors import BudgetTooSmall, TooManyUnits
from explaind.contract.methods.shap import MAX_EXACT_UNITS, ShapParams
from explaind_worker.estimators import kernel, permutation
from explaind_worker.estimators.estimate import Estimator
from explaind_worker.estimators.exact import ExactShapley
from explaind_worker.estimators.kernel import KernelShapley
from explaind_worker.estimators.permutation import PermutationShapley
from explaind_worker.game import Game
from explaind_worker.session import Session

# Under so many evaluations per unit a regression is looser than permutations.
KERNEL_PER_UNIT = 4


def run(params: ShapParams, session: Session) -> Attribution:
    """Shapley values of the prompt's units.

    Raises:
        TooManyUnits: exact values were asked for of more units than that is feasible for.
        BudgetTooSmall: the budget does not determine as many values as there are units.
    """
    game = Game(params, session)
    estimator = choose(params, len(game.units))
    scores = game.play(estimator.coalitions)
    estimate = estimator.estimate(scores)
    return game.attribution(
        estimate.values,
        algorithm=estimator.name,
        evaluations=len(scores),
        standard_errors=estimate.standard_errors,
    )


def choose(params: ShapParams, units: int) -> Estimator:
    """The estimator for so many units: the one asked for, or for `auto` the most exact one within the budget."""
    algorithm = params.algorithm
    if algorithm == "auto":
        if units <= MAX_EXACT_UNITS and 2**units <= params.budget:
            algorithm = "exact"
        else:
            algorithm = "kernel" if params.budget >= KERNEL_PER_UNIT * units else "permutation"
    if algorithm == "exact" or units == 1:
        _check_exact(units)
        return ExactShapley(units)
    rule = kernel if algorithm == "kernel" else permutation
    needed = rule.smallest_budget(units)
    if params.budget < needed:
        raise BudgetTooSmall.at(
            "/budget",
            f"{algorithm} needs at least {needed} evaluations for {units} units; the budget is {params.budget}.",
            hint="Raise the budget, or explain by larger units (sentence, or segments of your own).",
        )
    if algorithm == "kernel":
        return KernelShapley(units, params.budget, params.seed)
    return PermutationShapley(units, params.budget, params.seed)


def _check_exact(units: int) -> None:
    if units > MAX_EXACT_UNITS:
        raise TooManyUnits.at(
            "/algorithm",
            f"Exact Shapley values of {units} units take {2**units:,} evaluations; at most {MAX_EXACT_UNITS} units.",
            hint='Choose "kernel" or "permutation", or larger units.',
        )
