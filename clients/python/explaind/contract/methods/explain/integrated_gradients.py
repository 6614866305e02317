"""explain/integrated-gradients: the gradient along the straight line from a baseline to the prompt."""

from typing import Literal

from pydantic import Field

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.blocks.gradient_attribution import GradientRequest
from explaind.contract.method import Method

Quadrature = Literal["gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid"]
MAX_STEPS = 2000


class IntegratedGradientsParams(GradientRequest):
    """The integral of the gradient from the baseline's embeddings to the prompt's, times their difference."""

    n_steps: int = Field(
        default=50,
        ge=2,
        le=MAX_STEPS,
        description=(
            "Number of points of the path at which the gradient is taken; `completeness_gap` shows whether "
            "they suffice."
        ),
        examples=[50],
    )
    quadrature: Quadrature = Field(
        default="gausslegendre",
        description="Rule that places and weights the points, by captum's names.",
    )


METHOD = Method(
    verb="explain",
    name="integrated-gradients",
    title="Integrated gradients",
    summary=(
        "Integral of the gradient of a continuation's score as the prompt's embeddings move from a "
        "baseline to their own."
    ),
    params=IntegratedGradientsParams,
    result=Attribution,
    citation="Sundararajan et al. 2017, Axiomatic Attribution for Deep Networks; captum.attr.IntegratedGradients",
    version="2",
    cost="n_steps forward and backward passes, batched; with per_target a backward pass per target token",
    example={
        "model": "demo",
        "prompt": "Review: The food was great. Sentiment:",
        "target": " positive",
        "n_steps": 20,
    },
)
