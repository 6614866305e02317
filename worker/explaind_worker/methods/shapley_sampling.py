"""explain/shapley-sampling: Shapley values from random orders, by captum."""

from explaind.contract.blocks import Attribution
from explaind.contract.methods.shapley_sampling import ShapleySamplingParams
from explaind_worker.game import Game
from explaind_worker.libraries import captum_estimators
from explaind_worker.session import Session


def run(params: ShapleySamplingParams, session: Session) -> Attribution:
    """captum's ShapleyValueSampling over the units, all its coalitions evaluated together."""
    game = Game(params, session)
    found = captum_estimators.shapley_sampling(game.play, len(game.units), n_samples=params.n_samples, seed=params.seed)
    return game.attribution(found.values, algorithm="shapley-sampling", evaluations=found.evaluations)
