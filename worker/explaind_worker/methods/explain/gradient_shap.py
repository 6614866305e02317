"""explain/gradient-shap: the mean gradient at random points between the baseline and the noisy prompt."""

import numpy as np

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.methods.explain.gradient_shap import GradientShapParams
from explaind_worker.attribution.completeness import with_gap_note
from explaind_worker.attribution.embedding_gradients import EmbeddingGradients
from explaind_worker.estimators.estimate import moderated
from explaind_worker.methods.explain.integrated_gradients import along
from explaind_worker.session.session import Session

FEWEST_SAMPLES = 4  # for standard errors


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
    spread = np.concatenate(of_units).var(axis=0, ddof=1)
    sure = params.n_samples >= FEWEST_SAMPLES
    result = asked.attribution(
        np.asarray(total) / params.n_samples,
        algorithm="expected-gradients",
        evaluations=params.n_samples,
        standard_errors=moderated(spread, params.n_samples) if sure else None,
    )
    notes = [] if sure else [f"There are no standard errors: {params.n_samples} points say too little of their spread."]
    result = result.model_copy(update={"notes": [*result.notes, *notes]})
    noisy = " Noise on the embeddings (stdevs) adds to it, whatever the number of points." if params.stdevs else ""
    why = (
        f"That is the error of {params.n_samples} random points: raise n_samples, or use "
        f"explain/integrated-gradients.{noisy}"
    )
    return with_gap_note(result, why, noise=asked.rounding)
