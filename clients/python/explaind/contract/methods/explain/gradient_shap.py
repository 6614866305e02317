"""explain/gradient-shap: expected gradients at random points between a baseline and the noisy prompt."""

from pydantic import Field

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.blocks.gradient_attribution import GradientRequest
from explaind.contract.blocks.subject import Seed
from explaind.contract.method import Method

MAX_SAMPLES = 10_000


class GradientShapParams(GradientRequest):
    """Mean of gradient times difference over random points of the path, with noise on the prompt's embeddings."""

    n_samples: int = Field(
        default=50,
        ge=2,
        le=MAX_SAMPLES,
        description="Number of random points; the standard errors in the result shrink with its square root.",
        examples=[50],
    )
    stdevs: float = Field(
        default=0.0,
        ge=0.0,
        le=100.0,
        description="Standard deviation of the Gaussian noise that is added to each number of the prompt's embeddings.",
        examples=[0.02],
    )
    seed: Seed = Field(
        default=0, description="Seed of the random numbers; the same request with the same seed gives the same result."
    )


METHOD = Method(
    verb="explain",
    name="gradient-shap",
    title="Gradient SHAP",
    summary="Shapley values approximated by gradients at random points between a baseline and the prompt.",
    params=GradientShapParams,
    result=Attribution,
    citation=(
        "Lundberg & Lee 2017, A Unified Approach to Interpreting Model Predictions; Erion et al. 2021, Expected "
        "Gradients; captum.attr.GradientShap"
    ),
    version="2",
    cost="n_samples forward and backward passes, batched",
    example={
        "model": "demo",
        "prompt": "Review: The food was great. Sentiment:",
        "target": " positive",
        "foil": " negative",
        "n_samples": 20,
    },
)
