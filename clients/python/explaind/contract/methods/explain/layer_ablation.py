"""explain/layer-ablation: effects of ablating the attention, the MLP or the whole of a layer on the answers."""

from typing import Literal

from pydantic import Field, model_validator

from explaind.contract.base import ResponseModel, wrong
from explaind.contract.blocks.ablation import Ablated, AblationRequest
from explaind.contract.blocks.units import Offset
from explaind.contract.method import Method

LayerComponent = Literal["attention", "mlp", "block"]


class LayerAblationParams(AblationRequest):
    """Request for the layers that the answers depend on, by their attention, their MLP or the whole block."""

    layers: list[Offset] | None = Field(
        default=None, min_length=1, max_length=1024, description="Layers to ablate, counted from 0; null: all."
    )
    components: list[LayerComponent] = Field(
        default=["attention", "mlp", "block"],
        min_length=1,
        max_length=3,
        description=(
            "Components of a layer to ablate, each alone: its attention (at the hook point attn_out), its MLP "
            "(at mlp_out), or the whole block (at both)."
        ),
    )

    @model_validator(mode="after")
    def _each_once(self) -> "LayerAblationParams":
        for name in ("layers", "components"):
            named = getattr(self, name) or []
            if len(set(named)) < len(named):
                raise wrong(f"/{name}", "Each may be named once.")
        return self


class LayerRanking(ResponseModel):
    """Ablated components, the largest mean effect first; entries at the same index of the lists belong together."""

    layers: list[int]
    components: list[LayerComponent]
    effects: list[float] = Field(description="Mean effect over the questions.")
    low: list[float | None]
    high: list[float | None]


class LayerAblation(Ablated):
    """Effects of ablating components of single layers on the answers."""

    kind: Literal["layer_ablation"] = "layer_ablation"
    layers: list[int] = Field(description="Layer of each row.", examples=[[0, 1, 2, 3]])
    components: list[LayerComponent] = Field(description="Component of each column.")
    grid: list[list[float]] = Field(description="[row][column]: mean effect.")
    effects: list[list[list[float]]] = Field(description="[row][column][question]: effect.")
    ranking: LayerRanking


METHOD = Method(
    verb="explain",
    name="layer-ablation",
    title="Layer ablation",
    summary=("Ablates the attention, the MLP or the whole of each layer and ranks them by the loss in the answers."),
    params=LayerAblationParams,
    result=LayerAblation,
    citation="Michel et al. 2019; Chan et al. 2022, Causal Scrubbing (resampling); Wang et al. 2023 (mean ablation)",
    version="2",
    cost="layers × components × questions ablated runs, each from the ablated layer on",
    example={
        "model": "demo",
        "questions": {
            "questions": [
                {
                    "question": "When Mary and John went to the store, John gave a drink to",
                    "answer": " Mary",
                    "foil": " John",
                },
                {"question": "3 + 4 =", "answer": " 7", "foil": " 8"},
            ]
        },
        "metric": "logit_difference",
        "ablation": "mean",
    },
)
