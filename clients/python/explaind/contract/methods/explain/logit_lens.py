"""explain/logit-lens: the prediction of each layer, through the model's own final norm and unembedding."""

from typing import Literal

from pydantic import Field

from explaind.contract.blocks.hook_points import StreamPoint
from explaind.contract.blocks.lens import STREAMS, LensReading, LensRequest
from explaind.contract.method import Method


class LogitLensParams(LensRequest):
    """Decode the residual stream through the model's own final norm and unembedding."""

    streams: list[StreamPoint] = Field(
        default=list(STREAMS),
        min_length=1,
        max_length=len(STREAMS),
        description=(
            "Hook points to decode in each block: attn_out (the contribution of its attention to the stream), "
            "resid_mid (the stream after that), mlp_out (the contribution of its MLP), resid_post (the stream "
            "as it leaves the block); and resid_pre of layer 0 (the stream that enters the first block), any "
            "other layer's being the resid_post of the layer before."
        ),
        examples=[["resid_pre", "resid_post"]],
    )


class LogitLens(LensReading):
    """Decoded predictions of each layer."""

    kind: Literal["logit_lens"] = "logit_lens"


METHOD = Method(
    verb="explain",
    name="logit-lens",
    title="Logit lens",
    summary="Attention, MLP and residual stream of every layer and position decoded through the unembedding.",
    params=LogitLensParams,
    result=LogitLens,
    citation="nostalgebraist 2020, interpreting GPT: the logit lens",
    version="2",
    cost="one forward, and an unembedding per layer, stream and position",
    example={
        "model": "demo",
        "prompt": "When Mary and John went to the store, John gave a drink to",
        "target": " Mary",
        "foil": " John",
        "last": 4,
    },
)
