"""explain/logit-lens: what the model would say if it stopped at each layer."""

from typing import Literal

from pydantic import Field

from explaind.contract.blocks.lens import STREAMS, LensReading, LensRequest, Stream
from explaind.contract.method import Method


class LogitLensParams(LensRequest):
    """Decode the residual stream through the model's own final norm and unembedding."""

    streams: list[Stream] = Field(
        default=list(STREAMS),
        min_length=1,
        max_length=len(STREAMS),
        description="What is decoded of each block: what its attention writes, the stream after that (middle), what "
        "its MLP writes, the stream as it leaves the block; and the embedding that enters the first.",
        examples=[["embedding", "block"]],
    )


class LogitLens(LensReading):
    """What each layer would say."""

    kind: Literal["logit_lens"] = "logit_lens"


METHOD = Method(
    verb="explain",
    name="logit-lens",
    title="Logit lens",
    summary="Attention, MLP and residual stream of every layer and position decoded through the unembedding.",
    params=LogitLensParams,
    result=LogitLens,
    citation="nostalgebraist 2020, interpreting GPT: the logit lens",
    cost="one forward, and an unembedding per layer, stream and position",
    example={
        "model": "demo",
        "prompt": "When Mary and John went to the store, John gave a drink to",
        "target": " Mary",
        "foil": " John",
        "last": 4,
    },
)
