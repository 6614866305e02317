"""Fields of every gradient attribution: subject, units, and the baseline of the embeddings."""

from typing import Annotated, Literal

from pydantic import Field, Tag

from explaind.contract.base import by_key
from explaind.contract.blocks.attribution import AttributionRequest
from explaind.contract.blocks.units import ReplacementText

EmbeddingBaseline = Annotated[
    Annotated[Literal["mask", "pad", "zero"], Tag("~Plain")] | Annotated[ReplacementText, Tag("~ReplacementText")],
    by_key(text="~ReplacementText"),
]


class GradientRequest(AttributionRequest):
    """Attribution by the score's gradient with respect to the embeddings of the prompt's tokens.

    The model's weights are not perturbed and no token is replaced: only the embeddings of the tokens that belong to a
    unit are moved. All others (a start token, a template) keep their own, in the baseline too.
    """

    baseline: EmbeddingBaseline = Field(
        default="mask",
        description=(
            "Embedding that each token's own is compared with: that of the mask token (or, where the model "
            'has none, its unknown, pad or end token), that of the pad token, zeros, or that of {"text"}, '
            "which must be a single token."
        ),
        examples=["mask"],
    )
    per_target: bool = Field(
        default=False,
        description=(
            "Whether to give separate values for each target token (and foil token), which takes a backward "
            "pass for each. Otherwise `values_by_target` has one column, the whole score."
        ),
    )
