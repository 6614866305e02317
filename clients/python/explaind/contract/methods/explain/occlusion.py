"""explain/occlusion: change of the score when a window of units is absent."""

from pydantic import Field, model_validator

from explaind.contract.base import wrong
from explaind.contract.blocks.attribution import PerturbationRequest
from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.method import Method


class OcclusionParams(PerturbationRequest):
    """A window slides over the units; a unit's value is the mean drop over the windows that cover it."""

    window: int = Field(default=2, ge=1, le=4096, description="Number of neighbouring units that are absent together.")
    stride: int = Field(
        default=1, ge=1, le=4096, description="Number of units from one window to the next; at most the window."
    )

    @model_validator(mode="after")
    def _covers_every_unit(self) -> "OcclusionParams":
        if self.stride > self.window:
            raise wrong("/stride", f"A stride of {self.stride} leaves units uncovered by a window of {self.window}.")
        return self


METHOD = Method(
    verb="explain",
    name="occlusion",
    title="Occlusion",
    summary="Drop of the score when a window of neighbouring units is absent, by captum's Occlusion.",
    params=OcclusionParams,
    result=Attribution,
    citation="Zeiler & Fergus 2014, Visualizing and Understanding Convolutional Networks; captum.attr.Occlusion",
    version="2",
    cost="about n / stride + 2 evaluations for n units",
    example={
        "model": "demo",
        "prompt": "Review: The food was great. Sentiment:",
        "target": " positive",
        "foil": " negative",
        "window": 2,
    },
)
