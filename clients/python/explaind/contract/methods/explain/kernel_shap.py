"""explain/kernel-shap: Shapley values by regression, as captum samples them."""

from pydantic import Field

from explaind.contract.blocks.attribution import PerturbationRequest
from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.blocks.subject import Seed
from explaind.contract.method import Method


class KernelShapParams(PerturbationRequest):
    """Linear regression over coalitions drawn by the Shapley kernel. No standard errors: captum keeps none."""

    n_samples: int = Field(
        default=512,
        ge=3,
        le=100_000,
        description="Number of coalitions, including the full and the empty one.",
        examples=[512],
    )
    seed: Seed = Field(
        default=0, description="Seed of the random numbers; the same request with the same seed gives the same result."
    )


METHOD = Method(
    verb="explain",
    name="kernel-shap",
    title="Kernel SHAP (captum)",
    summary="Shapley values by captum's KernelShap; explain/shap needs far fewer evaluations for the same error.",
    params=KernelShapParams,
    result=Attribution,
    citation="Lundberg & Lee 2017; captum.attr.KernelShap",
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
