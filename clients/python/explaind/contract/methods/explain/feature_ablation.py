"""explain/feature-ablation: change of the score when one unit at a time is absent."""

from explaind.contract.blocks.attribution import PerturbationRequest
from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.method import Method


class FeatureAblationParams(PerturbationRequest):
    """The score with every unit present minus the score without one of them."""


METHOD = Method(
    verb="explain",
    name="feature-ablation",
    title="Feature ablation",
    summary="Drop of a continuation's score when each unit of the prompt is left out, one at a time.",
    params=FeatureAblationParams,
    result=Attribution,
    citation="Zeiler & Fergus 2014; captum.attr.FeatureAblation; Miglani et al. 2023, Using Captum to Explain LLMs",
    version="2",
    cost="n + 2 evaluations for n units",
    example={
        "model": "demo",
        "prompt": "When Mary and John went to the store, John gave a drink to",
        "target": " Mary",
        "foil": " John",
    },
)
