"""explain/deeplift: activation differences propagated back through the MLPs by the rescale rule."""

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.blocks.gradient_attribution import GradientRequest
from explaind.contract.method import Method


class DeepliftParams(GradientRequest):
    """DeepLIFT with the rescale rule at the activations of the MLPs; elsewhere differences follow the gradient.

    The rule covers functions of one number. In a transformer it does not cover the attention's softmax, products (query
    × key, attention × value, gates) and norms, so the values do not add up to the difference in score:
    `completeness_gap` gives the remainder for this prompt. Integrated gradients add up.
    """


METHOD = Method(
    verb="explain",
    name="deeplift",
    title="DeepLIFT",
    summary=("Differences from a baseline, propagated back from the score to each embedding by the rescale rule."),
    params=DeepliftParams,
    result=Attribution,
    citation="Shrikumar et al. 2017, Learning Important Features Through Propagating Activation Differences; "
    "captum.attr.DeepLift",
    version="2",
    cost="one forward and one backward pass over prompt and baseline; with per_target one for each target token",
    example={
        "model": "demo",
        "prompt": "Review: The food was great. Sentiment:",
        "target": " positive",
    },
)
