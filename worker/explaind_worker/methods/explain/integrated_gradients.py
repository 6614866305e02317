"""explain/integrated-gradients: the gradient along the path from the baseline to the prompt."""

import numpy as np
import torch

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.methods.explain.integrated_gradients import IntegratedGradientsParams
from explaind_worker.attribution.embedding_gradients import EmbeddingGradients
from explaind_worker.engine.gradients.quadrature import places_and_weights
from explaind_worker.session.session import Session


def run(params: IntegratedGradientsParams, session: Session) -> Attribution:
    """The integral of gradient times difference, per unit (Sundararajan et al. 2017, eq. 1)."""
    asked = EmbeddingGradients(params, session)
    places, weights = places_and_weights(params.quadrature, params.n_steps)
    path = asked.path(places)
    values = sum(
        np.tensordot(weights[list(points)], contributions, axes=1)
        for points, contributions in asked.contributions(path, along)
    )
    return asked.attribution(np.asarray(values), algorithm=params.quadrature, evaluations=len(places))


def along(gradients: torch.Tensor, differences: torch.Tensor) -> torch.Tensor:
    """How steep the score is in the direction of the path, [point, position], summed over the embedding's numbers."""
    return (gradients * differences).sum(dim=-1)
