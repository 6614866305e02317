"""explain/head-ablation: effects of ablating single attention heads, or sets of them, on the answers."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from explaind.contract.base import RequestModel, ResponseModel, wrong
from explaind.contract.blocks.ablation import Ablated, AblationRequest
from explaind.contract.blocks.units import Offset
from explaind.contract.method import Method

MAX_HEADS, MAX_SETS = 20_000, 1000

HeadPlace = Annotated[tuple[Offset, Offset], Field(description="[layer, head], counted from 0.", examples=[[3, 0]])]
HeadPlaces = Annotated[list[HeadPlace], Field(max_length=MAX_HEADS)]
HeadSet = Annotated[list[HeadPlace], Field(min_length=1, max_length=MAX_HEADS)]


class GradientScreen(RequestModel):
    """Approximate effects of all heads by gradients, and exact runs of the heads with the largest ones.

    Attribution patching: to first order the effect is the sum over positions of (z − value) · ∂metric/∂z, with z the
    output of the head and value its replacement; one forward and one backward pass per question give it for all heads.
    """

    method: Literal["attribution-patching"] = "attribution-patching"
    top_k: int = Field(
        default=20,
        ge=1,
        le=MAX_HEADS,
        description="Number of heads, those with the largest approximate effect, to run exactly.",
    )


class HeadAblationParams(AblationRequest):
    """Request for the attention heads that the answers depend on."""

    heads: HeadPlaces | None = Field(
        default=None,
        description="Heads to ablate, each alone: [layer, head]. null: every head; []: none.",
        examples=[None],
    )
    sets: list[HeadSet] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_SETS,
        description="Sets of heads to ablate together, in addition to the single ones.",
        examples=[None],
    )
    greedy: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description=(
            "Number of heads to remove one after the other: each step removes the head, among those ablated "
            "alone, whose loss costs most once the earlier ones are gone."
        ),
    )
    first_pass: GradientScreen | None = Field(
        default=None,
        description=(
            "Approximate effects of all heads by gradients, with exact runs of the strongest only; null: all exactly."
        ),
        examples=[None],
    )

    @model_validator(mode="after")
    def _something_to_do(self) -> "HeadAblationParams":
        if self.heads == [] and self.sets is None:
            raise wrong("/heads", "No heads and no sets: there is nothing to ablate.")
        for pointer, heads in (("/heads", self.heads), *((f"/sets/{i}", s) for i, s in enumerate(self.sets or []))):
            if heads is not None and len(set(heads)) < len(heads):
                raise wrong(pointer, "A head may be named once.")
        if self.heads == [] and self.greedy is not None:
            raise wrong("/greedy", "The heads to choose from are those of 'heads', and there are none.")
        if self.heads == [] and self.first_pass is not None:
            raise wrong("/first_pass", "It looks at the heads of 'heads', and there are none.")
        if self.first_pass is not None and self.metric == "accuracy":
            raise wrong("/first_pass", "An accuracy has no gradient: choose metric logprob or logit_difference.")
        return self


class HeadRanking(ResponseModel):
    """Heads ablated alone, the largest mean effect first; entries at the same index of the lists belong together."""

    layers: list[int]
    heads: list[int]
    effects: list[float] = Field(description="Mean effect over the questions.")
    low: list[float | None]
    high: list[float | None]


class AblatedSets(ResponseModel):
    """Sets of heads ablated together, in the order given; entries at the same index of the lists belong together."""

    heads: list[list[tuple[int, int]]]
    effects: list[float] = Field(description="Mean effect over the questions.")
    low: list[float | None]
    high: list[float | None]
    by_question: list[list[float]] = Field(description="[set][question]: effect.")


class GreedyRemoval(ResponseModel):
    """Heads removed one after the other; entry i is with heads 0 to i removed."""

    heads: list[tuple[int, int]]
    metric: list[float] = Field(description="Mean metric over the questions, from exact runs.")
    effects: list[float] = Field(description="Mean over the questions of clean minus ablated metric.")
    low: list[float | None]
    high: list[float | None]
    by_question: list[list[float]] = Field(description="[step][question]: clean minus ablated metric.")


class GradientScreenResult(ResponseModel):
    """Approximate effects of all heads by gradients, and their agreement with the exact runs."""

    method: Literal["attribution-patching"] = "attribution-patching"
    effects: list[list[float | None]] = Field(description="[layer][head]: approximate mean effect; null: not computed.")
    verified: list[tuple[int, int]] = Field(description="Heads run exactly, the strongest first.")
    spearman: float | None = Field(
        description=(
            "Rank correlation of the approximate and the exact mean effects of the verified heads; null where "
            "it is not defined. It is lower over the strongest heads alone than over all."
        )
    )


class HeadAblation(Ablated):
    """Effects of ablating single heads, and sets of heads, on the answers."""

    kind: Literal["head_ablation"] = "head_ablation"
    layers: int = Field(description="Number of layers of the model.", examples=[4])
    heads: int = Field(description="Number of heads per layer.", examples=[8])
    grid: list[list[float | None]] = Field(description="[layer][head]: mean effect; null: not ablated alone.")
    effects: list[list[list[float] | None]] = Field(
        description="[layer][head][question]: effect; null: not ablated alone."
    )
    ranking: HeadRanking
    sets: AblatedSets | None = None
    greedy: GreedyRemoval | None = None
    first_pass: GradientScreenResult | None = None


METHOD = Method(
    verb="explain",
    name="head-ablation",
    title="Head ablation",
    summary="Ablates attention heads, one at a time or together, and ranks them by the loss in the answers.",
    params=HeadAblationParams,
    result=HeadAblation,
    citation=(
        "Michel et al. 2019, Are Sixteen Heads Really Better than One?; Wang et al. 2023, Interpretability in the "
        "Wild; Nanda 2023, Attribution Patching; Syed et al. 2023"
    ),
    version="2",
    cost="layers × heads × questions ablated runs, each from the ablated layer on",
    example={
        "model": "demo",
        "questions": {
            "questions": [
                {
                    "question": "When Mary and John went to the store, John gave a drink to",
                    "answer": " Mary",
                    "foil": " John",
                },
                {
                    "question": "When Tom and Anna went to the park, Anna gave a book to",
                    "answer": " Tom",
                    "foil": " Anna",
                },
            ]
        },
        "metric": "logit_difference",
        "greedy": 2,
    },
)
