"""explain/logit-attribution: direct contributions of embedding, heads and MLPs to a logit."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from explaind.contract.base import MethodResult, ResponseModel, wrong
from explaind.contract.blocks.attribution_result import ScoredText
from explaind.contract.blocks.subject import Foil, LabelsTarget, PromptRequest, Target
from explaind.contract.method import Method

MOST_NUMBERS = 500_000  # of all target tokens together

# Hook points where all of the output is one contribution; a head has a share of z, and biases have no hook point.
ComponentKind = Literal["embed", "pos_embed", "head", "attention_bias", "mlp_out", "bias"]
NAMES = {"embed": "embedding", "pos_embed": "position embedding", "attention_bias": "attention bias", "mlp_out": "MLP"}


class LogitAttributionParams(PromptRequest):
    """Request that splits the logit of the target (minus that of the foil) among the parts of the model."""

    target: Target | None = Field(
        default=None,
        description=(
            'Continuation whose logits are split: a string or {"text"}, {"token_ids"}, {"generate"} (the '
            "model's own continuation), or null: the model's next token. Every token of it is a column, and "
            "the columns add up."
        ),
        examples=[" positive"],
    )
    foil: Foil | None = Field(
        default=None,
        description=(
            "Alternative to the target: the logits of the target's tokens minus those of the foil's tokens are split."
        ),
        examples=[" negative"],
    )
    by_target: bool = Field(
        default=True, description="Whether to give the numbers of every target token in addition to their sums."
    )
    top: int = Field(default=20, ge=1, le=1000, description="Number of strongest components to name.")

    @model_validator(mode="after")
    def _a_sum_of_logits(self) -> "LogitAttributionParams":
        if isinstance(self.target, LabelsTarget):
            raise wrong(
                "/target",
                "Labels are normalised over each other, which no sum of contributions explains: give one of them as "
                "'target' and another as 'foil'.",
            )
        return self


class LogitComponent(ResponseModel):
    """One part of the model and its contribution; the embeddings and the last bias belong to no layer."""

    kind: ComponentKind = Field(examples=["head"])
    layer: int | None = Field(default=None, examples=[2])
    head: int | None = Field(default=None, examples=[3])
    value: float = Field(description="Contribution, in units of the logit.", examples=[1.7])

    @property
    def name(self) -> str:
        """Its usual name: L2H3, L2 MLP, embedding."""
        if self.kind == "head":
            return f"L{self.layer}H{self.head}"
        name = NAMES.get(self.kind, self.kind)
        return name if self.layer is None else f"L{self.layer} {name}"


class Contributions(ResponseModel):
    """Contributions of all parts of the model to one logit, or to a sum of logits."""

    embed: float = Field(description="Contribution of the token's embedding.")
    pos_embed: float | None = Field(
        default=None,
        description=(
            "Contribution of the position's embedding; null where the model family adds none to the residual stream."
        ),
    )
    heads: list[list[float]] = Field(description="[layer][head]: contribution of the head.")
    attention_bias: list[float] = Field(
        description="[layer]: contribution of the bias after the heads; 0 where there is none."
    )
    mlp_out: list[float] = Field(description="[layer]: contribution of the MLP, including its biases.")
    bias: float = Field(description="Contribution of the final norm's bias and the unembedding's bias.")

    @property
    def layers(self) -> list[float]:
        """Per layer the sum of its heads, its attention's bias and its MLP."""
        layers = zip(self.heads, self.attention_bias, self.mlp_out, strict=True)
        return [sum(heads) + bias + mlp for heads, bias, mlp in layers]

    @property
    def accumulated(self) -> list[float]:
        """Cumulative sums: before the first layer, then after each; the last is the total."""
        grown = [self.embed + (self.pos_embed or 0.0) + self.bias]
        for layer in self.layers:
            grown.append(grown[-1] + layer)
        return grown

    @property
    def components(self) -> list[LogitComponent]:
        """Every component separately."""
        found = [LogitComponent(kind="embed", value=self.embed)]
        if self.pos_embed is not None:
            found.append(LogitComponent(kind="pos_embed", value=self.pos_embed))
        for layer, heads in enumerate(self.heads):
            found += [LogitComponent(kind="head", layer=layer, head=h, value=value) for h, value in enumerate(heads)]
            found.append(LogitComponent(kind="attention_bias", layer=layer, value=self.attention_bias[layer]))
            found.append(LogitComponent(kind="mlp_out", layer=layer, value=self.mlp_out[layer]))
        return [*found, LogitComponent(kind="bias", value=self.bias)]


class TokenContributions(Contributions):
    """One column: a token of the target, or of the foil with its sign reversed."""

    text: str = Field(examples=[" positive"])
    id: int = Field(examples=[417])
    sign: Literal[1, -1] = Field(
        description="Sign of the token: −1 for a token of the foil, already applied to its contributions."
    )
    logit: float = Field(description="The model's own logit of the token (before a soft cap), times the sign.")
    capped_logit: float | None = Field(
        default=None,
        description=(
            "The model's own logit after the soft cap, times the sign, where the family has one; null elsewhere."
        ),
    )
    gap: float = Field(description="logit − the sum of the contributions: the rounding error.")


class LogitAttribution(MethodResult, Contributions):
    """Direct contributions to the logits of the target (minus the foil), with the final norm's scale frozen.

    The numbers here are sums over the tokens of the target (and foil); `by_target` has those of each token. Together
    they give `logit` up to `gap`, a rounding error: the worker refuses a result whose gap rounding does not explain.
    """

    kind: Literal["logit_attribution"] = "logit_attribution"
    prompt: str = Field(description="Prompt as read by the model; for messages, as written by the chat template.")
    target: ScoredText
    foil: ScoredText | None = None
    logit: float = Field(
        description="The model's own logit: the sum over the target's tokens, minus the sum over the foil's."
    )
    capped_logit: float | None = Field(
        default=None,
        description=(
            "The model's own logit after the soft cap, where the family has one: the contributions add up to its input."
        ),
    )
    gap: float = Field(description="logit − the sum of the contributions.")
    ranking: list[LogitComponent] = Field(description="Strongest components, the largest magnitude first.")
    by_target: list[TokenContributions] = Field(
        default_factory=list, description="Contributions for each token, where requested."
    )


def strongest(components: Sequence[LogitComponent], count: int) -> list[LogitComponent]:
    """The components of largest magnitude, in descending order; those with a contribution of 0 are left out."""
    return sorted((c for c in components if c.value), key=lambda c: -abs(c.value))[:count]


METHOD = Method(
    verb="explain",
    name="logit-attribution",
    title="Logit attribution",
    summary=(
        "Contributions of the embedding, every attention head and every MLP to the logit of a target; they sum to it."
    ),
    params=LogitAttributionParams,
    result=LogitAttribution,
    citation="Elhage et al. 2021, A Mathematical Framework for Transformer Circuits; nostalgebraist 2020",
    version="2",
    cost="one forward (two where target and foil differ after their first tokens)",
    example={
        "model": "demo",
        "prompt": "When Mary and John went to the store, John gave a drink to",
        "target": " Mary",
        "foil": " John",
    },
)
