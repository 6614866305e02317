"""explain/attention: attention patterns, and classification of heads."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from explaind.contract.base import MethodResult, ResponseModel, wrong
from explaind.contract.blocks.subject import PromptRequest, Seed
from explaind.contract.method import Method

MOST_WEIGHTS = 250_000  # attention weights in one result

LayerIndex = Annotated[int, Field(strict=True, ge=0, lt=1000)]
HeadIndex = Annotated[int, Field(strict=True, ge=0, lt=1000)]
Query = Annotated[int, Field(strict=True, ge=0, lt=2**31)]

HeadClass = Literal["previous_token", "duplicate_token", "induction", "first_token", "current_token"]


class AttentionParams(PromptRequest):
    """Request for attention patterns of heads, and for scores of every head for the known kinds."""

    layers: list[LayerIndex] | None = Field(
        default=None, max_length=1000, description="Layers whose heads are all shown.", examples=[None]
    )
    heads: list[tuple[LayerIndex, HeadIndex]] | None = Field(
        default=None,
        max_length=10_000,
        description=(
            "Heads to show, each [layer, head]. Without `layers` and `heads`: the strongest head of each kind."
        ),
        examples=[[[1, 0]]],
    )
    queries: list[Query] | None = Field(
        default=None,
        min_length=1,
        max_length=100_000,
        description=(
            "Query positions to show (tokens of the prompt, counted from 0). null: all, or as many of the "
            "last as a result can hold."
        ),
        examples=[None],
    )
    special_as_sink: bool = Field(
        default=False,
        description="Whether to count special tokens among the sinks, in addition to the first position.",
    )
    threshold: float = Field(
        default=0.4, gt=0, le=1, description="Minimum score for a head to be labelled as one of that kind."
    )
    induction_probe: bool = Field(
        default=True,
        description=(
            "Whether to score the heads on repeated random tokens too: few prompts repeat enough for a reliable score."
        ),
    )
    probe_tokens: int = Field(default=50, ge=4, le=500, description="Number of random tokens that the probe repeats.")
    seed: Seed = Field(default=0, description="Seed of the probe's tokens.")

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

    Only the repeat is predictable there, so a head that attends to the token after the last occurrence is one that
    searches for it.
    """

    tokens: int
    seed: int
    previous_token: Scores
    duplicate_token: Scores
    induction: Scores


class HeadScores(ResponseModel):
    """Scores of every head on the prompt, each [layer][head]: mean attention over the query positions.

    The first position attends to itself alone and is left out.
    """

    previous_token: Scores = Field(description="Attention to the previous position.")
    duplicate_token: Scores | None = Field(
        default=None,
        description="Attention to earlier occurrences of the same token; null where no token occurs twice.",
    )
    induction: Scores | None = Field(
        default=None,
        description=(
            "Attention to the tokens that followed earlier occurrences of the same token; null where there are none."
        ),
    )
    first_token: Scores = Field(description="Attention to the first position.")
    current_token: Scores = Field(description="Attention of each position to itself.")
    sink: Scores = Field(description="Attention to all sinks together.")
    entropy: Scores = Field(
        description=(
            "Entropy of the attention, in nats: 0 for attention to one position, log(n) for equal attention to n."
        )
    )


class HeadLabel(ResponseModel):
    """A head of a known kind, with its score for that kind."""

    layer: int
    head: int
    label: HeadClass
    score: float

    @property
    def name(self) -> str:
        """Its usual name: L2H3."""
        return f"L{self.layer}H{self.head}"


class HeadPattern(ResponseModel):
    """Attention of one head: `weights[query][key]`, for each query of the result the keys up to itself."""

    layer: int
    head: int
    labels: list[HeadClass] = Field(default_factory=list)
    weights: list[list[float]]

    @property
    def name(self) -> str:
        """Its usual name: L2H3."""
        return f"L{self.layer}H{self.head}"


class AttentionPatterns(MethodResult):
    """Attention patterns of some heads, and scores of all heads."""

    kind: Literal["attention_patterns"] = "attention_patterns"
    prompt: str = Field(description="Prompt as read by the model; for messages, as written by the chat template.")
    tokens: list[str] = Field(description="Texts of the prompt's tokens.")
    token_ids: list[int]
    sinks: list[int] = Field(
        description="Sinks: positions that heads rest on; plots leave them out of the color scale."
    )
    queries: list[int] = Field(description="Query positions of every pattern.")
    patterns: list[HeadPattern]
    scores: HeadScores
    probe: ProbeScores | None = Field(default=None, description="Scores on repeated random tokens, where requested.")
    threshold: float
    labels: list[HeadLabel] = Field(
        description=("Heads of a known kind, the clearest first; by the probe's score for kinds that the probe scores.")
    )


METHOD = Method(
    verb="explain",
    name="attention",
    title="Attention patterns",
    summary=("Attention patterns of heads, and which heads are previous-token, duplicate-token or induction heads."),
    params=AttentionParams,
    result=AttentionPatterns,
    citation="Olsson et al. 2022, In-context Learning and Induction Heads; Xiao et al. 2023 (attention sinks)",
    version="2",
    cost="one forward for the scores, one for the patterns, and one of the probe",
    example={
        "model": "demo",
        "prompt": "When Mary and John went to the store, John gave a drink to",
        "probe_tokens": 12,
    },
)
