"""explain/gradient-shap: the mean gradient at random points between the baseline and the noisy prompt."""

import numpy as np

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.methods.explain.gradient_shap import GradientShapParams
from explaind_worker.attribution.embedding_gradients import EmbeddingGradients
from explaind_worker.methods.explain.integrated_gradients import along
from explaind_worker.session.session import Session


def run(params: GradientShapParams, session: Session) -> Attribution:
    """The mean over random points of gradient times difference, with its standard error (Erion et al. 2021, eq. 5)."""
    asked = EmbeddingGradients(params, session)
    fractions = np.random.default_rng(params.seed).random(params.n_samples)
    path = asked.path(fractions, stdev=params.stdevs, seed=params.seed)
    total: np.ndarray | float = 0.0
    of_units = []  # [point, unit] of each batch
    for _, contributions in asked.contributions(path, along):
        total = total + contributions.sum(axis=0)
        of_units.append(contributions.sum(axis=-1))
    spread = np.concatenate(of_units).std(axis=0, ddof=1)
    return asked.attribution(
        np.asarray(total) / params.n_samples,
        algorithm="expected-gradients",
        evaluations=params.n_samples,
        standard_errors=spread / np.sqrt(params.n_samples),
    )
