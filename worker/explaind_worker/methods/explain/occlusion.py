"""explain/occlusion: leaves out a window of neighbouring units at a time, by captum."""

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.errors import InvalidRequest
from explaind.contract.methods.explain.occlusion import OcclusionParams
from explaind_worker.attribution.coalition_game import CoalitionGame
from explaind_worker.attribution.completeness import with_gap_note
from explaind_worker.libraries import captum
from explaind_worker.methods.explain.feature_ablation import ONE_AT_A_TIME
from explaind_worker.session.session import Session


def run(params: OcclusionParams, session: Session) -> Attribution:
    """captum's Occlusion over the units, all its coalitions evaluated together.

    Raises:
        InvalidRequest: the window is wider than there are units.
    """
    game = CoalitionGame(params, session)
    units = len(game.units)
    if params.window > units:
        raise InvalidRequest.at(
            "/window",
            f"A window of {params.window} units does not fit the prompt's {units}.",
            hint="Choose a smaller window, or smaller units.",
        )
    found = captum.occlusion(game.play, units, window=params.window, stride=params.stride, drawn=game.drawing(units))
    result = game.attribution(found.values, algorithm="occlusion", evaluations=found.evaluations)
    return with_gap_note(result, ONE_AT_A_TIME)
