"""explain/shap: Shapley values of the units of a prompt."""

from typing import Literal

from pydantic import Field

from explaind.contract.attribution import PerturbationRequest
from explaind.contract.blocks import Attribution
from explaind.contract.method import Method
from explaind.contract.subject import Seed

MAX_EXACT_UNITS = 12

Algorithm = Literal["auto", "exact", "kernel", "permutation"]


class ShapParams(PerturbationRequest):
    """Shapley values of the prompt's units."""

    algorithm: Algorithm = Field(
        default="auto",
        description=(
            f"exact: all 2^n coalitions, up to {MAX_EXACT_UNITS} units. kernel: weighted regression over paired "
            "coalitions. permutation: antithetic permutations. auto: exact where 2^n fits the budget, else kernel, "
            "or permutation where the budget is too small for a regression."
        ),
    )
    budget: int = Field(
        default=512,
        ge=4,
        le=100_000,
        description="Most coalitions that kernel and permutation may evaluate.",
        examples=[512],
    )
    seed: Seed = Field(default=0, description="Same seed, same request: same answer.")


METHOD = Method(
    verb="explain",
    name="shap",
    title="Token SHAP",
    summary="Shapley values of the prompt's tokens, words, sentences or segments for the score of a continuation.",
    params=ShapParams,
    result=Attribution,
    citation=(
        "Lundberg & Lee 2017, A Unified Approach to Interpreting Model Predictions; "
        "Covert & Lee 2021, Improving KernelSHAP; Mitchell et al. 2022, Sampling Permutations"
    ),
    cost="2^n evaluations when exact, otherwise at most the budget",
    example={
        "model": "demo",
        "prompt": "Review: The food was great. Sentiment:",
        "target": " positive",
        "foil": " negative",
        "units": "word",
    },
)
