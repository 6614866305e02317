"""Requests and results of lenses: hook points of the residual stream, decoded as if they were the last."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from explaind.contract.base import ResponseModel, by_key, wrong
from explaind.contract.blocks.hook_points import StreamPoint
from explaind.contract.blocks.subject import (
    ContinuationText,
    GeneratedTarget,
    PromptRequest,
    TextTarget,
    TokenId,
    TokenIdsTarget,
)

STREAMS: tuple[StreamPoint, ...] = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")

MOST_TOP = 50
MOST_TRACKED = 32


def _as_text_target(value: object) -> object:
    return TextTarget(text=value) if isinstance(value, str) else value


LensTarget = Annotated[
    Annotated[ContinuationText, Tag("~Plain")]
    | Annotated[TextTarget, Tag("~TextTarget")]
    | Annotated[TokenIdsTarget, Tag("~TokenIdsTarget")]
    | Annotated[GeneratedTarget, Tag("~GeneratedTarget")],
    by_key(text="~TextTarget", token_ids="~TokenIdsTarget", generate="~GeneratedTarget"),  # noqa: S106 - ids of tokens
    AfterValidator(_as_text_target),
]
LensFoil = Annotated[
    Annotated[ContinuationText, Tag("~Plain")]
    | Annotated[TextTarget, Tag("~TextTarget")]
    | Annotated[TokenIdsTarget, Tag("~TokenIdsTarget")],
    by_key(text="~TextTarget", token_ids="~TokenIdsTarget"),  # noqa: S106 - ids of tokens
    AfterValidator(_as_text_target),
]
TrackedChoice = Annotated[
    Annotated[ContinuationText, Tag("~Text")] | Annotated[TokenId, Tag("~Id")],
    Discriminator(lambda value: "~Id" if isinstance(value, int) else "~Text"),
]


class LensRequest(PromptRequest):
    """Which places of the residual stream are decoded, and which tokens are followed through them."""

    target: LensTarget | None = Field(
        default=None,
        description=(
            'The continuation whose tokens are followed, each at the position that predicts it: a string or {"text"}, '
            '{"token_ids"}, {"generate"} (what the model says itself), or null: the model\'s next token. It is read '
            "behind the prompt."
        ),
        examples=[" Mary"],
    )
    foil: LensFoil | None = Field(
        default=None,
        description="Another continuation: its first token that differs from the target's is followed too.",
        examples=[" John"],
    )
    track: list[TrackedChoice] = Field(
        default_factory=list,
        max_length=MOST_TRACKED,
        description="More tokens to follow, at every position: texts of a single token each, or token ids.",
        examples=[[" Mary", " John"]],
    )
    layers: list[int] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="Blocks to decode, counted from 0, or from the end (−1 the last); null for all. The last block's "
        "output is always there, to compare with.",
        examples=[None],
    )
    positions: list[int] | None = Field(
        default=None,
        min_length=1,
        max_length=100_000,
        description="Tokens of the prompt to decode at, counted from 0, or from the end (−1 the last); null for all. "
        "Those that predict the target are always there.",
        examples=[None],
    )
    last: int | None = Field(
        default=None, ge=1, le=100_000, description="Decode at the last so many tokens of the prompt.", examples=[None]
    )
    top: int = Field(
        default=5, ge=1, le=MOST_TOP, description="How many of the likeliest tokens to list of each place."
    )

    @model_validator(mode="after")
    def _whole_target(self) -> "LensRequest":
        for field in ("target", "foil"):
            for name in ("span", "span_text"):
                if getattr(getattr(self, field), name, None) is not None:
                    raise wrong(f"/{field}/{name}", f"Every token is followed here: leave {name!r} out.")
        if self.last is not None and self.positions is not None:
            raise wrong("/last", "Give one of 'positions' and 'last'.")
        return self


class ReadPositions(ResponseModel):
    """The positions that were decoded, as columns; what is decoded there is what would come next."""

    index: list[int] = Field(description="Place in the prompt and the target behind it, counted from 0.")
    token_id: list[int]
    text: list[str] = Field(description="The text of the token there.")
    special: list[bool] = Field(description="Whether it is a special token of the model.")
    template: list[bool] = Field(description="Whether the chat template wrote it.")
    in_target: list[bool] = Field(description="Whether it is a token of the target.")


class DecodedStream(ResponseModel):
    """One of the streams through the layers, decoded at every position; arrays are layer × position.

    The final token of a position is the one the model itself finds likeliest there.
    """

    stream: str = Field(
        description="The hook point: resid_pre (of layer 0), attn_out, resid_mid, mlp_out or resid_post.",
        examples=["resid_post"],
    )
    layers: list[int] = Field(description="The blocks, counted from 0.")
    top_ids: list[list[list[int]]] = Field(description="Layer × position × top: token ids, likeliest first.")
    top_probabilities: list[list[list[float]]] = Field(description="Layer × position × top.")
    entropy: list[list[float]] = Field(description="Of the distribution, in nats.")
    divergence: list[list[float]] = Field(description="KL(final ‖ here), in nats; 0 at the last block's output.")
    agreement: list[float] = Field(description="Per layer the share of positions whose top token is the final one.")
    first_layer: list[int | None] = Field(
        description="Per position the first layer with the final token on top; null where there is none."
    )
    settled_layer: list[int | None] = Field(
        description="Per position the layer from which on the final token stays on top; null where it is not on top in "
        "the end."
    )


class TrackedStream(ResponseModel):
    """A tracked token in one of the streams; arrays are layer × followed position."""

    logprobs: list[list[float]] = Field(description="In nats.")
    probabilities: list[list[float]]
    ranks: list[list[int]] = Field(description="0 where no token is likelier.")


class TrackedToken(ResponseModel):
    """A token that was followed through the layers, where it was asked for."""

    token_id: int
    text: str
    role: Literal["target", "foil", "given"]
    positions: list[int] = Field(description="Where it was followed: indices into the columns of `positions`.")
    streams: list[TrackedStream] = Field(description="One per stream of the result, in the same order.")


class LensReading(ResponseModel):
    """The residual stream decoded, place by place: what the model would say if it stopped there.

    `streams` are in the order of the stream: resid_pre, attn_out, resid_mid, mlp_out, resid_post. All texts of tokens
    that occur in the arrays are in `tokens`.
    """

    prompt: str = Field(description="The text that was read; for messages, as the chat template wrote it.")
    target: str | None = Field(default=None, description="The text of the target behind it; null where there is none.")
    positions: ReadPositions
    streams: list[DecodedStream]
    tracked: list[TrackedToken]
    tokens: dict[int, str] = Field(description="The text of every token id in the arrays.")
    layer_count: int = Field(description="How many blocks the model has.", examples=[12])
    top: int = Field(description="How many tokens are listed of each place.")

    def stream(self, name: str) -> DecodedStream:
        """The stream of that name.

        Raises:
            KeyError: it was not decoded.
        """
        found = next((stream for stream in self.streams if stream.stream == name), None)
        if found is None:
            raise KeyError(name)
        return found
