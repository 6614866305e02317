"""What an answer is made of: blocks that every result is built from and every renderer understands."""

from typing import Literal

from pydantic import Field

from explaind.contract.base import Answer
from explaind.contract.subject import Score
from explaind.contract.units import Unit, UnitKind


class ScoredToken(Answer):
    """A token and how likely the model found it."""

    text: str = Field(description="The text it decodes to.", examples=[" positive"])
    id: int = Field(examples=[417])
    logprob: float | None = Field(
        default=None,
        description="Natural log; null where nothing precedes it, or where nobody asked for it.",
        examples=[-0.2],
    )


class RankedToken(ScoredToken):
    """A token with the tokens the model would rather have said there."""

    rank: int | None = Field(default=None, description="0 when it is the likeliest token at its place.")
    top: list[ScoredToken] = Field(default_factory=list, description="The likeliest tokens there, best first.")


class ScoredText(Answer):
    """A continuation and its tokens, each scored after the full prompt.

    Where a span of it is explained, the tokens before are given, and those after are not scored.
    """

    text: str = Field(examples=[" positive"])
    tokens: list[ScoredToken]
    explained: tuple[int, int] | None = Field(
        default=None,
        description="The tokens that are explained, [first, one past the last]; null when all are.",
        examples=[None],
    )

    @property
    def explained_tokens(self) -> list[ScoredToken]:
        """The tokens that are explained."""
        return self.tokens if self.explained is None else self.tokens[slice(*self.explained)]

    @property
    def logprob(self) -> float:
        """Log-probability of the tokens that are explained, in nats, given those before them."""
        return sum(token.logprob or 0.0 for token in self.explained_tokens)


class StandIn(Answer):
    """What took the place of an absent unit."""

    absent: str = Field(description="The choice: mask, pad, remove or text.", examples=["mask"])
    text: str | None = Field(
        default=None, description="The text of what stood in, once per token or, for text, per unit."
    )
    token_ids: list[int] = Field(default_factory=list)


class MessageShare(Answer):
    """What the units of one chat message contributed together."""

    index: int = Field(description="Which message, counted from 0.", examples=[0])
    role: str = Field(examples=["user"])
    value: float = Field(description="Sum of its units' values.")
    units: list[int] = Field(description="Indices of its units.")


class Attribution(Answer):
    """How much each unit of the prompt contributed to the score of the target.

    `values` has one number per unit, in the units of the score (nats for logprob). `values_by_target` is
    unit × column: first the target's tokens, then, with a foil, the foil's tokens counted negatively; of a
    continuation that says what is `explained` of it only those tokens; for a label of a closed set it is one
    column. The columns of a unit add up to its value.
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
    evaluations: int = Field(description="Coalitions whose score was asked for.", examples=[512])
    unit_kind: UnitKind | Literal["segments"] | None = Field(
        default=None, description="What the units are; null where that is not known.", examples=["word"]
    )
    groups: dict[UnitKind, list[list[int]]] = Field(
        default_factory=dict,
        description="For each coarser kind of unit its units, as the indices of the units here that they hold.",
        examples=[{}],
    )
    summed_from: UnitKind | None = Field(
        default=None,
        description="The kind of unit that was explained, where the values here are sums of those; else null.",
        examples=[None],
    )
    by_message: list[MessageShare] | None = Field(
        default=None, description="For a chat, the values of each message's units added up.", examples=[None]
    )
    by_role: dict[str, float] | None = Field(
        default=None, description="For a chat, the values of each role's messages added up.", examples=[None]
    )

    @property
    def top(self) -> int:
        """Index of the unit that raised the score most."""
        return max(range(len(self.values)), key=self.values.__getitem__)

    def regrouped(self, kind: UnitKind) -> "Attribution":
        """The same result shown by larger units: values are added up, nothing is computed again.

        Standard errors do not add up without their covariances and become None, and so does all else that is said
        of single units. A sum of Shapley values is not the Shapley value that the larger unit would have as one
        player; for that, ask again.

        Raises:
            InvalidUnits: the result does not hold units of that kind.
        """
        from explaind.contract.grouping import regrouped  # noqa: PLC0415 - it is made of this module's blocks

        return regrouped(self, kind)

    def _repr_html_(self) -> str:
        from explaind.heatmap import attribution_html  # noqa: PLC0415 - renderers load only where they are used

        return attribution_html(self)
