"""explain/lime: a sparse linear model of the score around the prompt, by captum."""

from explaind.contract.blocks import Attribution
from explaind.contract.methods.lime import LimeParams
from explaind_worker.game import Game
from explaind_worker.libraries import captum_estimators
from explaind_worker.session import Session


def run(params: LimeParams, session: Session) -> Attribution:
    """captum's Lime over the units, all its coalitions evaluated together.

    Raises:
        InvalidRequest: the kernel is so narrow that no coalition weighs anything.
    """
    game = Game(params, session)
    found = captum_estimators.lime(
        game.play,
        len(game.units),
        n_samples=params.n_samples,
        kernel_width=params.kernel_width,
        distance=params.distance,
        alpha=params.alpha,
        seed=params.seed,
    )
    return game.attribution(found.values, algorithm="lime", evaluations=found.evaluations)
