"""What an answer is made of: blocks that every result is built from and every renderer understands."""

from typing import Literal

from pydantic import Field

from explaind.contract.base import Answer
from explaind.contract.subject import Score
from explaind.contract.units import Unit


class ScoredToken(Answer):
    """A token and how likely the model found it."""

    text: str = Field(description="The text it decodes to.", examples=[" positive"])
    id: int = Field(examples=[417])
    logprob: float | None = Field(
        default=None, description="Natural log; null where nothing precedes it.", examples=[-0.2]
    )


class RankedToken(ScoredToken):
    """A token with the tokens the model would rather have said there."""

    rank: int | None = Field(default=None, description="0 when it is the likeliest token at its place.")
    top: list[ScoredToken] = Field(default_factory=list, description="The likeliest tokens there, best first.")


class ScoredText(Answer):
    """A continuation and its tokens, each scored after the full prompt."""

    text: str = Field(examples=[" positive"])
    tokens: list[ScoredToken]

    @property
    def logprob(self) -> float:
        """Log-probability of the whole continuation, in nats."""
        return sum(token.logprob or 0.0 for token in self.tokens)


class StandIn(Answer):
    """What took the place of an absent unit; for gradients the token whose embedding was the baseline."""

    absent: str = Field(description="The choice: mask, pad, remove, zero or text.", examples=["mask"])
    text: str | None = Field(
        default=None, description="The text of what stood in, once per token or, for text, per unit."
    )
    token_ids: list[int] = Field(default_factory=list)


class Attribution(Answer):
    """How much each unit of the prompt contributed to the score of the target.

    `values` has one number per unit, in the units of the score (nats for logprob). `values_by_target` is
    unit × column: first the target's tokens, then, with a foil, the foil's tokens counted negatively; for a
    label of a closed set, and for a method that was not asked to tell target tokens apart, it is one column. The
    columns of a unit add up to its value.
    """

    kind: Literal["attribution"] = "attribution"
    prompt: str = Field(description="The text that was explained; for messages, as the chat template wrote it.")
    units: list[Unit]
    values: list[float] = Field(description="One per unit.")
    values_by_target: list[list[float]] = Field(description="Unit × target token (then foil token).")
    standard_errors: list[float] | None = Field(
        default=None,
        description="Of the values, for estimators that sample; null when they are exact or cannot be known.",
    )
    base_value: float = Field(description="The score with every unit absent.")
    full_value: float = Field(description="The score with every unit present.")
    completeness_gap: float = Field(description="full_value − base_value − the sum of the values.")
    score: Score
    target: ScoredText
    foil: ScoredText | None = None
    labels: list[ScoredText] | None = Field(default=None, description="The closed set of answers, where one was given.")
    absent: StandIn
    algorithm: str = Field(examples=["exact"])
    evaluations: int = Field(description="Coalitions, or points of a path, whose score was asked for.", examples=[512])
    notes: list[str] = Field(
        default_factory=list, description="What a reader of these values should know, e.g. about quantized weights."
    )

    @property
    def top(self) -> int:
        """Index of the unit that raised the score most."""
        return max(range(len(self.values)), key=self.values.__getitem__)

    def _repr_html_(self) -> str:
        from explaind.heatmap import attribution_html  # noqa: PLC0415 - renderers load only where they are used

        return attribution_html(self)
