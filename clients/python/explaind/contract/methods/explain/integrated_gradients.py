"""explain/integrated-gradients: the gradient along the straight line from a baseline to the prompt."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.blocks.gradient_attribution import GradientRequest
from explaind.contract.method import Method

Quadrature = Literal["gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid"]
MAX_STEPS = 2000
FIRST_STEPS = 50  # of n_steps auto


def _kind_of_steps(value: object) -> str:
    return "~Auto" if value == "auto" else "~Number"


# Told apart beforehand, so that an error speaks of one of the two.
Steps = Annotated[
    Annotated[Annotated[int, Field(ge=2, le=MAX_STEPS)], Tag("~Number")] | Annotated[Literal["auto"], Tag("~Auto")],
    Discriminator(_kind_of_steps),
]


class IntegratedGradientsParams(GradientRequest):
    """The integral of the gradient from the baseline's embeddings to the prompt's, times their difference."""

    n_steps: Steps = Field(
        default=50,
        description=(
            "Number of points of the path at which the gradient is taken; `completeness_gap` shows whether they "
            f"suffice, and a note says where they do not. auto: {FIRST_STEPS}, doubled until the gap is under the "
            "tolerance or max_steps is reached."
        ),
        examples=[50],
    )
    tolerance: float = Field(
        default=0.01,
        gt=0.0,
        le=1.0,
        description=(
            "Largest completeness gap to accept with n_steps auto, as a share of full_value − base_value. A gap that "
            "rounding of the two scores explains is accepted too."
        ),
    )
    max_steps: int = Field(
        default=1600, ge=2, le=MAX_STEPS, description="Maximum number of points of the path with n_steps auto."
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
    cost=(
        "n_steps forward and backward passes, batched; with per_target a backward pass per target token. auto: those "
        "of every doubling, or once each where the points nest (the rules riemann_left, _right and _trapezoid)"
    ),
    example={
        "model": "demo",
        "prompt": "Review: The food was great. Sentiment:",
        "target": " positive",
        "n_steps": 20,
    },
)
