"""explain/shapley-sampling: Shapley values from random orders, by captum."""

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.methods.explain.shapley_sampling import ShapleySamplingParams
from explaind_worker.attribution.coalition_game import CoalitionGame
from explaind_worker.libraries import captum
from explaind_worker.session.session import Session


def run(params: ShapleySamplingParams, session: Session) -> Attribution:
    """captum's ShapleyValueSampling over the units, all its coalitions evaluated together."""
    game = CoalitionGame(params, session)
    found = captum.shapley_sampling(game.play, len(game.units), n_samples=params.n_samples, seed=params.seed)
    return game.attribution(found.values, algorithm="shapley-sampling", evaluations=found.evaluations)
