"""explain/integrated-gradients: the gradient along the path from the baseline to the prompt."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.methods.explain.integrated_gradients import FIRST_STEPS, IntegratedGradientsParams
from explaind_worker.attribution.completeness import gap_in_words, with_gap_note
from explaind_worker.attribution.embedding_gradients import EmbeddingGradients
from explaind_worker.engine.gradients.quadrature import Refinement, places_and_weights, refinements
from explaind_worker.engine.scoring.value_function import FloatArray
from explaind_worker.session.session import Session

TOO_FEW = 'So many points of the path are too few here: raise n_steps, or give n_steps "auto".'
FROM_ZERO = (
    " An embedding of zeros lies where no token does, and the score is steep there; baseline "
    '"mask" or a text needs far fewer points.'
)


@dataclass(frozen=True)
class _Integral:
    """Values [unit, column] by `steps` points of the path; `points` were evaluated for it, those of before included."""

    values: FloatArray
    steps: int
    points: int


def run(params: IntegratedGradientsParams, session: Session) -> Attribution:
    """The integral of gradient times difference, per unit (Sundararajan et al. 2017, eq. 1)."""
    asked = EmbeddingGradients(params, session)
    zero = FROM_ZERO if params.baseline == "zero" else ""
    if params.n_steps != "auto":
        fixed = Refinement(params.n_steps, *places_and_weights(params.quadrature, params.n_steps), kept=0.0)
        found = _refined(asked, fixed, None)
        result = _attribution(params, asked, found)
        return with_gap_note(result, f"n_steps is {params.n_steps}. {TOO_FEW}{zero}", noise=asked.rounding)
    found = None
    for found in _doubled(params, asked, session):
        if asked.gap(found.values) <= max(params.tolerance * asked.difference, asked.rounding):
            return _attribution(params, asked, found)
    assert found is not None  # noqa: S101 - there is always a first look
    result = _attribution(params, asked, found)
    why = (
        f"With {found.steps} points it did not come under {params.tolerance:.3g} of the difference (tolerance), and "
        f"max_steps is {params.max_steps}: raise one of the two.{zero}"
    )
    return result.model_copy(update={"notes": [*result.notes, f"{gap_in_words(result)} {why}"]})


def along(gradients: torch.Tensor, differences: torch.Tensor) -> torch.Tensor:
    """Directional derivative of the score along the path, [point, position], summed over the embedding dimensions."""
    return (gradients * differences).sum(dim=-1)


def _doubled(params: IntegratedGradientsParams, asked: EmbeddingGradients, session: Session) -> Iterator[_Integral]:
    """The integral by ever more points; it may be left after each."""
    found = None
    for refinement in refinements(params.quadrature, min(FIRST_STEPS, params.max_steps), params.max_steps):
        with session.job.phase(f"{refinement.steps} points of the path"):
            found = _refined(asked, refinement, found)
        yield found


def _refined(asked: EmbeddingGradients, refinement: Refinement, before: _Integral | None) -> _Integral:
    path = asked.path(refinement.places)
    values = sum(
        np.tensordot(refinement.weights[list(points)], contributions, axes=1)
        for points, contributions in asked.contributions(path, along)
    )
    points = len(refinement.places)
    if before is None:
        return _Integral(np.asarray(values), refinement.steps, points)
    return _Integral(values + refinement.kept * before.values, refinement.steps, before.points + points)


def _attribution(params: IntegratedGradientsParams, asked: EmbeddingGradients, found: _Integral) -> Attribution:
    result = asked.attribution(found.values, algorithm=params.quadrature, evaluations=found.points)
    return result.model_copy(update={"n_steps": found.steps})
