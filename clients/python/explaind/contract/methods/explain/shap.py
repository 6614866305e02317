"""explain/shap: Shapley values of the units of a prompt."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from explaind.contract.blocks.attribution import PerturbationRequest
from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.blocks.subject import Seed
from explaind.contract.method import Method

MAX_EXACT_UNITS = 12

MAX_EVALUATIONS = 100_000

Algorithm = Literal["auto", "exact", "kernel", "permutation", "partition"]


def _kind_of_budget(value: object) -> str:
    return "~Auto" if value == "auto" else "~Number"


# Discriminated before validation, so that an error refers to one of the two.
Budget = Annotated[
    Annotated[Annotated[int, Field(ge=4, le=MAX_EVALUATIONS)], Tag("~Number")]
    | Annotated[Literal["auto"], Tag("~Auto")],
    Discriminator(_kind_of_budget),
]


class ShapParams(PerturbationRequest):
    """Shapley values of the prompt's units."""

    algorithm: Algorithm = Field(
        default="auto",
        description=(
            f"Algorithm. exact: all 2^n coalitions, up to {MAX_EXACT_UNITS} units. kernel: regression over "
            "paired coalitions. permutation: antithetic permutations. partition: Owen values, where units "
            "share the joint contribution of their word, sentence and message. auto: exact where 2^n fits the "
            "budget, else kernel, or permutation where the budget is too small for a regression."
        ),
    )
    budget: Budget = Field(
        default=512,
        description=(
            "Maximum coalitions that kernel, permutation and partition may evaluate. auto: doubled "
            "repeatedly, until the largest standard error is under the tolerance or max_budget is spent."
        ),
        examples=[512],
    )
    tolerance: float = Field(
        default=0.05,
        gt=0.0,
        le=1e6,
        description="Largest standard error to accept with budget auto, in the units of the score (nats).",
    )
    max_budget: int = Field(
        default=4096, ge=4, le=MAX_EVALUATIONS, description="Maximum coalitions to evaluate with budget auto."
    )
    interactions: bool = Field(
        default=False,
        description=(
            "Whether to compute the interactions of pairs of units: exactly where all coalitions fit the "
            "budget, otherwise sampled with about as many evaluations again."
        ),
    )
    seed: Seed = Field(
        default=0, description="Seed of the random numbers; the same request with the same seed gives the same result."
    )


METHOD = Method(
    verb="explain",
    name="shap",
    title="Token SHAP",
    summary="Shapley values of the prompt's tokens, words, sentences or segments for the score of a continuation.",
    params=ShapParams,
    result=Attribution,
    citation=(
        "Lundberg & Lee 2017, A Unified Approach to Interpreting Model Predictions; "
        "Covert & Lee 2021, Improving KernelSHAP; Mitchell et al. 2022, Sampling Permutations; "
        "shap.PartitionExplainer (Owen 1977); Grabisch & Roubens 1999 for interactions"
    ),
    cost="2^n evaluations when exact, otherwise at most the budget; as many again for sampled interactions",
    version="3",
    example={
        "model": "demo",
        "prompt": "Review: The food was great. Sentiment:",
        "target": " positive",
        "foil": " negative",
        "units": "word",
    },
)
