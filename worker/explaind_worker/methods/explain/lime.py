"""explain/lime: a sparse linear model of the score around the prompt, by captum."""

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.methods.explain.lime import LimeParams
from explaind_worker.attribution.coalition_game import CoalitionGame
from explaind_worker.attribution.completeness import with_gap_note
from explaind_worker.libraries import captum
from explaind_worker.session.session import Session

WHY = (
    "The values are the slopes of a linear model around the prompt, drawn towards 0 (alpha): they need not add up; "
    "explain/shap adds up."
)


def run(params: LimeParams, session: Session) -> Attribution:
    """captum's Lime over the units, all its coalitions evaluated together.

    Raises:
        RequestTooLarge: coalitions × units is over the limit.
        InvalidRequest: the kernel is so narrow that all weights are zero.
    """
    game = CoalitionGame(params, session)
    game.refuse_too_many(params.n_samples, "/n_samples")
    found = captum.lime(
        game.play,
        len(game.units),
        n_samples=params.n_samples,
        kernel_width=params.kernel_width,
        distance=params.distance,
        alpha=params.alpha,
        seed=params.seed,
        drawn=game.drawing(params.n_samples),
    )
    result = game.attribution(found.values, algorithm="lime", evaluations=found.evaluations)
    return with_gap_note(result, WHY)
