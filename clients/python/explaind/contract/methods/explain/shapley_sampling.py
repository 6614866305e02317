"""explain/shapley-sampling: Shapley values from random orders, as captum samples them."""

from pydantic import Field

from explaind.contract.blocks.attribution import PerturbationRequest
from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.blocks.subject import Seed
from explaind.contract.method import Method


class ShapleySamplingParams(PerturbationRequest):
    """Mean gain of each unit as it enters, over random orders of the units."""

    n_samples: int = Field(default=25, ge=1, le=10_000, description="Number of random orders of the units.")
    seed: Seed = Field(
        default=0, description="Seed of the random numbers; the same request with the same seed gives the same result."
    )


METHOD = Method(
    verb="explain",
    name="shapley-sampling",
    title="Shapley value sampling",
    summary="Shapley values as the mean gain of each unit over random orders, by captum's ShapleyValueSampling.",
    params=ShapleySamplingParams,
    result=Attribution,
    citation="Castro et al. 2009, Polynomial calculation of the Shapley value; captum.attr.ShapleyValueSampling",
    version="2",
    cost="n_samples × n + 1 evaluations for n units",
    example={
        "model": "demo",
        "prompt": "Review: The food was great. Sentiment:",
        "target": " positive",
        "foil": " negative",
        "n_samples": 25,
    },
)
