"""explain/feature-ablation: leaves out one unit at a time."""

import numpy as np

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.methods.explain.feature_ablation import FeatureAblationParams
from explaind_worker.attribution.coalition_game import CoalitionGame
from explaind_worker.attribution.completeness import with_gap_note
from explaind_worker.estimators.estimate import empty_and_full
from explaind_worker.session.session import Session

ONE_AT_A_TIME = (
    "Units that are left out one at a time are each given, or none of them, what they do only together; explain/shap "
    "adds up."
)


def run(params: FeatureAblationParams, session: Session) -> Attribution:
    """The full score minus the score without each unit.

    The same values as captum's FeatureAblation with one feature per unit, which is deterministic and nothing but this
    subtraction; a test compares them.
    """
    game = CoalitionGame(params, session)
    coalitions = empty_and_full(~np.eye(len(game.units), dtype=bool))
    scores = game.play(coalitions)
    result = game.attribution(scores[-1] - scores[1:-1], algorithm="leave-one-out", evaluations=len(scores))
    return with_gap_note(result, ONE_AT_A_TIME)
