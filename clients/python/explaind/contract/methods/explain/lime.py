"""explain/lime: a sparse linear model of the score around the prompt."""

from typing import Literal

from pydantic import Field

from explaind.contract.blocks.attribution import PerturbationRequest
from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.blocks.subject import Seed
from explaind.contract.method import Method


class LimeParams(PerturbationRequest):
    """Coefficients of a lasso fitted to coalitions in which each unit is present with probability one half.

    They describe a local linear model: nothing makes them add up to full − empty. No standard errors: captum keeps
    none.
    """

    n_samples: int = Field(default=512, ge=2, le=100_000, description="Number of coalitions to fit to.", examples=[512])
    kernel_width: float = Field(
        default=1.0,
        gt=0.0,
        le=1e6,
        description="Width of the exponential kernel, which gives more weight to coalitions near the full prompt.",
    )
    distance: Literal["cosine", "euclidean"] = Field(
        default="cosine", description="Distance measure between a coalition and the full prompt."
    )
    alpha: float = Field(
        default=0.01, ge=0.0, le=1e6, description="Strength of the lasso's penalty; 0 is ordinary least squares."
    )
    seed: Seed = Field(
        default=0, description="Seed of the random numbers; the same request with the same seed gives the same result."
    )


METHOD = Method(
    verb="explain",
    name="lime",
    title="LIME",
    summary="A sparse linear model of the score near the full prompt, by captum's Lime.",
    params=LimeParams,
    result=Attribution,
    citation="Ribeiro et al. 2016, Why Should I Trust You?; captum.attr.Lime",
    version="2",
    cost="n_samples evaluations",
    example={
        "model": "demo",
        "prompt": "Review: The food was great. Sentiment:",
        "target": " positive",
        "foil": " negative",
        "n_samples": 256,
    },
)
