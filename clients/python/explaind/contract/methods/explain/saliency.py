"""explain/saliency: norm of the score's gradient at each token's embedding."""

from typing import Literal

from pydantic import Field

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.blocks.gradient_attribution import GradientRequest
from explaind.contract.method import Method


class SaliencyParams(GradientRequest):
    """The size of the gradient with respect to each token's embedding, never negative.

    The baseline does not change the values, only `base_value`. Saliency is not complete: its values are slopes, not
    shares of the score. With `per_target` a unit's value is the sum of its saliencies for each token of the target (and
    foil), since the size of a sum is not the sum of the sizes.
    """

    reduce: Literal["l1", "l2", "max"] = Field(
        default="l1",
        description=(
            "Reduction of a token's gradient to one number: the sum of the magnitudes (l1), the Euclidean "
            "length (l2), or the largest magnitude (max). Tokens of a unit are added up."
        ),
    )


METHOD = Method(
    verb="explain",
    name="saliency",
    title="Saliency",
    summary="Sensitivity of a continuation's score to each embedding of the prompt, whatever the direction.",
    params=SaliencyParams,
    result=Attribution,
    citation="Simonyan et al. 2013, Deep Inside Convolutional Networks; captum.attr.Saliency",
    version="2",
    cost="one forward and one backward pass, and a forward of the baseline",
    example={
        "model": "demo",
        "prompt": "When Mary and John went to the store, John gave a drink to",
        "target": " Mary",
        "reduce": "l2",
    },
)
