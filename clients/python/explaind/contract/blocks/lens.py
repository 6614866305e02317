"""Requests and results of lenses: hook points of the residual stream, decoded as if they were the last."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from explaind.contract.base import MethodResult, ResponseModel, by_key, wrong
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
    """Request that decodes the residual stream at layers and positions, and follows tokens through them."""

    target: LensTarget | None = Field(
        default=None,
        description=(
            "Continuation whose tokens are followed, each at the position that predicts it: a string or "
            '{"text"}, {"token_ids"}, {"generate"} (the model\'s own continuation), or null: the model\'s next '
            "token. It is appended to the prompt."
        ),
        examples=[" Mary"],
    )
    foil: LensFoil | None = Field(
        default=None,
        description="Alternative continuation: its first token that differs from the target's is followed too.",
        examples=[" John"],
    )
    track: list[TrackedChoice] = Field(
        default_factory=list,
        max_length=MOST_TRACKED,
        description="Additional tokens to follow, at every position: texts of a single token each, or token ids.",
        examples=[[" Mary", " John"]],
    )
    layers: list[int] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description=(
            "Blocks to decode, counted from 0, or from the end (−1 the last); null: all. The last block's "
            "output is always included, for comparison."
        ),
        examples=[None],
    )
    positions: list[int] | None = Field(
        default=None,
        min_length=1,
        max_length=100_000,
        description=(
            "Tokens of the prompt to decode at, counted from 0, or from the end (−1 the last); null: all. "
            "Those that predict the target are always included."
        ),
        examples=[None],
    )
    last: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Number of tokens at the end of the prompt to decode at.",
        examples=[None],
    )
    top: int = Field(
        default=5, ge=1, le=MOST_TOP, description="Number of likeliest tokens to list at each layer and position."
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
    """The decoded positions, as columns; the decoded distribution at a position is that of the next token."""

    index: list[int] = Field(description="[position]: index in the prompt with the target appended, counted from 0.")
    token_id: list[int]
    text: list[str] = Field(description="[position]: text of the token.")
    special: list[bool] = Field(description="[position]: whether the token is a special token of the model.")
    template: list[bool] = Field(description="[position]: whether the token was written by the chat template.")
    in_target: list[bool] = Field(description="[position]: whether the token belongs to the target.")


class DecodedStream(ResponseModel):
    """One stream through the layers, decoded at every position; arrays are layer × position.

    The final token of a position is the likeliest one there in the model's own output.
    """

    stream: str = Field(
        description="Hook point: resid_pre (of layer 0), attn_out, resid_mid, mlp_out or resid_post.",
        examples=["resid_post"],
    )
    layers: list[int] = Field(description="Blocks, counted from 0.")
    top_ids: list[list[list[int]]] = Field(description="[layer][position][top]: token ids, likeliest first.")
    top_probabilities: list[list[list[float]]] = Field(
        description="[layer][position][top]: probabilities of these tokens."
    )
    entropy: list[list[float]] = Field(description="[layer][position]: entropy of the distribution, in nats.")
    divergence: list[list[float]] = Field(
        description="[layer][position]: KL(final ‖ here), in nats; 0 at the last block's output."
    )
    agreement: list[float] = Field(description="[layer]: share of positions whose top token is the final one.")
    first_layer: list[int | None] = Field(
        description="[position]: first layer with the final token on top; null where there is none."
    )
    settled_layer: list[int | None] = Field(
        description=(
            "[position]: layer from which on the final token stays on top; null where it is not on top in the end."
        )
    )


class TrackedStream(ResponseModel):
    """A tracked token in one stream; arrays are layer × followed position."""

    logprobs: list[list[float]] = Field(description="[layer][followed position]: log-probability, in nats.")
    probabilities: list[list[float]]
    ranks: list[list[int]] = Field(description="[layer][followed position]: rank; 0 where no token is likelier.")


class TrackedToken(ResponseModel):
    """A token followed through the layers, at the positions where that was requested."""

    token_id: int
    text: str
    role: Literal["target", "foil", "given"]
    positions: list[int] = Field(
        description="Positions where the token was followed, as indices into the columns of `positions`."
    )
    streams: list[TrackedStream] = Field(description="One per stream of the result, in the same order.")


class LensReading(MethodResult):
    """The residual stream decoded at every layer and position: the prediction if the model ended there.

    `streams` are in the order of the stream: resid_pre, attn_out, resid_mid, mlp_out, resid_post. `tokens` has the
    texts of all tokens in the arrays.
    """

    prompt: str = Field(description="Prompt as read by the model; for messages, as written by the chat template.")
    target: str | None = Field(
        default=None, description="Text of the target appended to the prompt; null where there is none."
    )
    positions: ReadPositions
    streams: list[DecodedStream]
    tracked: list[TrackedToken]
    tokens: dict[int, str] = Field(description="Text of every token id in the arrays.")
    layer_count: int = Field(description="Number of blocks of the model.", examples=[12])
    top: int = Field(description="Number of tokens listed at each layer and position.")

    def stream(self, name: str) -> DecodedStream:
        """The stream of that name.

        Raises:
            KeyError: the stream was not decoded.
        """
        found = next((stream for stream in self.streams if stream.stream == name), None)
        if found is None:
            raise KeyError(name)
        return found
