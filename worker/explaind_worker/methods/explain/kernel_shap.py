"""explain/kernel-shap: Shapley values by regression, by captum."""

import numpy as np

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.errors import BudgetTooSmall
from explaind.contract.methods.explain.kernel_shap import KernelShapParams
from explaind_worker.attribution.coalition_game import CoalitionGame
from explaind_worker.attribution.completeness import with_gap_note
from explaind_worker.libraries import captum
from explaind_worker.session.session import Session


def run(params: KernelShapParams, session: Session) -> Attribution:
    """captum's KernelShap over the units, all its coalitions evaluated together.

    Raises:
        RequestTooLarge: coalitions × units is over the limit.
        BudgetTooSmall: fewer coalitions than the regression has coefficients.
    """
    game = CoalitionGame(params, session)
    units = len(game.units)
    if units == 1:  # captum's distribution of sizes is empty; the unit gets the whole difference
        empty, full = game.empty_and_full
        return game.attribution(np.array([full - empty]), algorithm="kernel-shap", evaluations=2)
    if params.n_samples < units + 2:
        raise BudgetTooSmall.at(
            "/n_samples",
            f"{units} units take at least {units + 2} coalitions; n_samples is {params.n_samples}.",
            hint="Raise n_samples, or explain by larger units (sentence, or segments of your own).",
        )
    game.refuse_too_many(params.n_samples, "/n_samples")
    found = captum.kernel_shap(
        game.play, units, n_samples=params.n_samples, seed=params.seed, drawn=game.drawing(params.n_samples)
    )
    result = game.attribution(found.values, algorithm="kernel-shap", evaluations=found.evaluations)
    return with_gap_note(
        result, f"The regression over {params.n_samples} coalitions is not held to it: raise n_samples."
    )
