"""explain/attention: where heads look, and what kinds of heads they are."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from explaind.contract.base import ResponseModel, wrong
from explaind.contract.blocks.subject import PromptRequest, Seed
from explaind.contract.method import Method

MOST_WEIGHTS = 250_000  # attention weights in one answer

LayerIndex = Annotated[int, Field(strict=True, ge=0, lt=1000)]
HeadIndex = Annotated[int, Field(strict=True, ge=0, lt=1000)]
Query = Annotated[int, Field(strict=True, ge=0, lt=2**31)]

HeadClass = Literal["previous_token", "duplicate_token", "induction", "first_token", "current_token"]


class AttentionParams(PromptRequest):
    """Shows patterns of heads, and scores every head as one of the known kinds."""

    layers: list[LayerIndex] | None = Field(
        default=None, max_length=1000, description="Show all heads of these layers.", examples=[None]
    )
    heads: list[tuple[LayerIndex, HeadIndex]] | None = Field(
        default=None,
        max_length=10_000,
        description=(
            "Show these heads, each [layer, head]. Without `layers` and `heads`: the strongest head of each kind."
        ),
        examples=[[[1, 0]]],
    )
    queries: list[Query] | None = Field(
        default=None,
        min_length=1,
        max_length=100_000,
        description=(
            "The positions (tokens of the prompt, from 0) that look. null: all, or as many of the last as an answer "
            "holds."
        ),
        examples=[None],
    )
    special_as_sink: bool = Field(
        default=False,
        description="Count special tokens among the sinks, beside the first position.",
    )
    threshold: float = Field(
        default=0.4, gt=0, le=1, description="The score from which on a head is called one of that kind."
    )
    induction_probe: bool = Field(
        default=True,
        description="Score the heads on random tokens that are repeated, too: few prompts repeat enough to tell.",
    )
    probe_tokens: int = Field(default=50, ge=4, le=500, description="How many random tokens the probe repeats.")
    seed: Seed = Field(default=0, description="Of the probe's tokens.")

    @model_validator(mode="after")
    def _each_once(self) -> "AttentionParams":
        for name in ("layers", "heads", "queries"):
            given = getattr(self, name)
            if given is not None and len(set(given)) < len(given):
                raise wrong(f"/{name}", "Something is named twice.")
        return self


Scores = list[list[float]]


class ProbeScores(ResponseModel):
    """Scores on `tokens` random tokens of the vocabulary, repeated once; layer × head, over the repeat.

    Nothing but the repeat can be known there, so that a head that finds the token after the last occurrence is one
    that looks for it.
    """

    tokens: int
    seed: int
    previous_token: Scores
    duplicate_token: Scores
    induction: Scores


class HeadScores(ResponseModel):
    """What every head does with the prompt, each [layer][head]: mean attention over the positions that look.

    The first position looks at itself alone and is left out.
    """

    previous_token: Scores = Field(description="To the position before.")
    duplicate_token: Scores | None = Field(
        default=None, description="To earlier occurrences of the same token; null where no token occurs twice."
    )
    induction: Scores | None = Field(
        default=None,
        description="To the tokens that followed earlier occurrences of the same token; null where there are none.",
    )
    first_token: Scores = Field(description="To the first position.")
    current_token: Scores = Field(description="To itself.")
    sink: Scores = Field(description="To all sinks together.")
    entropy: Scores = Field(description="In nats: 0 looks at one position, log(n) at n alike.")


class HeadLabel(ResponseModel):
    """A head that is of a known kind, and how clearly."""

    layer: int
    head: int
    label: HeadClass
    score: float

    @property
    def name(self) -> str:
        """As it is called: L2H3."""
        return f"L{self.layer}H{self.head}"


class HeadPattern(ResponseModel):
    """Where one head looks: `weights[query][key]`, for each query of the answer the keys up to itself."""

    layer: int
    head: int
    labels: list[HeadClass] = Field(default_factory=list)
    weights: list[list[float]]

    @property
    def name(self) -> str:
        """As it is called: L2H3."""
        return f"L{self.layer}H{self.head}"


class AttentionPatterns(ResponseModel):
    """Patterns of some heads, and scores of all."""

    kind: Literal["attention_patterns"] = "attention_patterns"
    prompt: str = Field(description="The text the model read; for messages, as the chat template wrote it.")
    tokens: list[str] = Field(description="The texts of its tokens.")
    token_ids: list[int]
    sinks: list[int] = Field(description="Positions that heads rest on; pictures leave them out of their colours.")
    queries: list[int] = Field(description="The positions that look, of every pattern.")
    patterns: list[HeadPattern]
    scores: HeadScores
    probe: ProbeScores | None = Field(default=None, description="On repeated random tokens, when asked for.")
    threshold: float
    labels: list[HeadLabel] = Field(
        description="Heads of a known kind, the clearest first; by the probe's score where it has one."
    )
    notes: list[str] = Field(default_factory=list)


METHOD = Method(
    verb="explain",
    name="attention",
    title="Attention patterns",
    summary="Where attention heads look, and which are previous-token, duplicate-token or induction heads.",
    params=AttentionParams,
    result=AttentionPatterns,
    citation="Olsson et al. 2022, In-context Learning and Induction Heads; Xiao et al. 2023 (attention sinks)",
    cost="one forward for the scores, one for the patterns, and one of the probe",
    example={
        "model": "demo",
        "prompt": "When Mary and John went to the store, John gave a drink to",
        "probe_tokens": 12,
    },
)
