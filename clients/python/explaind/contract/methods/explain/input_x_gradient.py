"""explain/input-x-gradient: the gradient at the prompt times its embeddings."""

from pydantic import Field

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.blocks.gradient_attribution import EmbeddingBaseline, GradientRequest
from explaind.contract.method import Method


class InputXGradientParams(GradientRequest):
    """The first-order change of the score from the baseline's embeddings to the prompt's.

    It is not complete: `completeness_gap` gives how far the score is from linear between the two.
    """

    baseline: EmbeddingBaseline = Field(
        default="zero",
        description=(
            "Embedding subtracted from each token's own before the product: zeros (as in the literature), "
            'that of the mask or pad token, or that of {"text"}, which must be a single token.'
        ),
        examples=["zero"],
    )


METHOD = Method(
    verb="explain",
    name="input-x-gradient",
    title="Input × gradient",
    summary="The gradient of a continuation's score with respect to each embedding, times the embedding.",
    params=InputXGradientParams,
    result=Attribution,
    citation="Shrikumar et al. 2016, Not Just a Black Box; captum.attr.InputXGradient",
    version="2",
    cost="one forward and one backward pass, and a forward of the baseline",
    example={
        "model": "demo",
        "prompt": "When Mary and John went to the store, John gave a drink to",
        "target": " Mary",
        "foil": " John",
    },
)
