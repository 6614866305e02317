"""explain/shapley-sampling: Shapley values from random orders, by captum."""

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.methods.explain.shapley_sampling import ShapleySamplingParams
from explaind_worker.attribution.coalition_game import CoalitionGame
from explaind_worker.libraries import captum
from explaind_worker.session.session import Session


def run(params: ShapleySamplingParams, session: Session) -> Attribution:
    """captum's ShapleyValueSampling over the units, all its coalitions evaluated together.

    Raises:
        RequestTooLarge: coalitions × units is over the limit.
    """
    game = CoalitionGame(params, session)
    units = len(game.units)
    coalitions = params.n_samples * units + 1
    game.refuse_too_many(coalitions, "/n_samples")
    found = captum.shapley_sampling(
        game.play, units, n_samples=params.n_samples, seed=params.seed, drawn=game.drawing(coalitions)
    )
    return game.attribution(found.values, algorithm="shapley-sampling", evaluations=found.evaluations)
