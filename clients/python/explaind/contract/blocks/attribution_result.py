"""What an answer is made of: blocks that every result is built from and every renderer understands."""

from typing import Literal

from pydantic import Field

from explaind.contract.base import ResponseModel
from explaind.contract.blocks.regrouping import regrouped
from explaind.contract.blocks.subject import Score
from explaind.contract.blocks.units import MessageShare, Unit, UnitKind


class ScoredToken(ResponseModel):
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


class ScoredText(ResponseModel):
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


class Replacement(ResponseModel):
    """The baseline as it was resolved for this model; for gradients, the token whose embedding was it."""

    choice: str = Field(description="mask, pad, remove, zero or text.", examples=["mask"])
    text: str | None = Field(
        default=None, description="Text of the replacement: once per token or, for text, once per unit."
    )
    token_ids: list[int] = Field(default_factory=list)


class Curve(ResponseModel):
    """A line through points, and the area under it by the trapezoidal rule."""

    x: list[float] = Field(description="Ascending.", examples=[[0.0, 0.5, 1.0]])
    y: list[float] = Field(description="One per x.", examples=[[-0.2, -3.1, -9.1]])
    area: float = Field(examples=[-3.9])


class RandomBaseline(ResponseModel):
    """A number about an order of the units beside the same number about random orders."""

    value: float
    random_mean: float = Field(description="Mean over the random orders.")
    random_deviation: float = Field(description="Standard deviation over the random orders.")
    z: float | None = Field(
        default=None,
        description="By how many deviations it is better than the mean; negative where it is worse, null where the "
        "random orders do not differ.",
    )
    beats: float = Field(description="Share of the random orders that it is better than; a tie counts half.")


class Faithfulness(ResponseModel):
    """What the model says when units are removed, or inserted, in order of an attribution's values.

    The unit of the largest value, which supports the target most, comes first; of equal values the earlier unit.
    Everything is in the units of the score that was explained: with `"score": "prob"` comprehensiveness and
    sufficiency are those of DeYoung et al. 2020 (ERASER), the curves those of Petsiuk et al. 2018 (RISE).
    """

    shares: list[float] = Field(description="Shares of the units, rounded up to whole units.")
    comprehensiveness: list[float] = Field(
        description="Per share: the full score minus that without these units. Faithful: high."
    )
    sufficiency: list[float] = Field(
        description="Per share: the full score minus that with these units alone. Faithful: low."
    )
    deletion: Curve = Field(description="Share of the units removed against the score. Faithful: falls early.")
    insertion: Curve = Field(description="Share of the units inserted against the score. Faithful: rises early.")
    random_deletion: Curve = Field(description="Mean over the random orders.")
    random_insertion: Curve = Field(description="Mean over the random orders.")
    comprehensiveness_mean: RandomBaseline = Field(description="Mean over the shares (AOPC); better: higher.")
    sufficiency_mean: RandomBaseline = Field(description="Mean over the shares (AOPC); better: lower.")
    deletion_area: RandomBaseline = Field(description="Better: lower.")
    insertion_area: RandomBaseline = Field(description="Better: higher.")
    random_orders: int = Field(examples=[10])
    baseline: Replacement = Field(description="What replaced a removed unit.")
    evaluations: int = Field(description="Distinct coalitions whose score was asked for.", examples=[212])


class ReducedPrecision(ResponseModel):
    """What narrower matrix products did to the scores: some coalitions were evaluated both ways."""

    products: str = Field(
        description='The type they were taken in; "float32" where this processor has no faster one.',
        examples=["bfloat16"],
    )
    largest_difference: float = Field(
        description="Between the two scores of a coalition, in the units of the score.", examples=[0.012]
    )
    checked: int = Field(description="Coalitions that were evaluated both ways.", examples=[16])


class StoppingReason(ResponseModel):
    """Why an attribution with `budget: "auto"` stopped where it did."""

    reason: Literal["tolerance", "budget", "exact"] = Field(
        description="tolerance: the standard errors are small enough; budget: max_budget was spent before they were; "
        "exact: nothing was left to sample."
    )
    tolerance: float = Field(description="The standard error that was asked for, in the units of the score.")
    largest_standard_error: float | None = Field(
        default=None, description="Of any unit; 0 when exact, null for partition before its hierarchy is complete."
    )


class Interactions(ResponseModel):
    """Shapley interaction indices of all pairs of units (Grabisch & Roubens 1999).

    `values` is unit × unit and symmetric, in the units of the score: how much more (or less) two units together change
    the score than each alone, averaged over what else is present. Positive units need each other, negative ones say
    the same twice. The diagonal is 0: a unit does not interact with itself.
    """

    values: list[list[float]] = Field(description="Unit × unit, symmetric, 0 on the diagonal.")
    standard_errors: list[list[float]] | None = Field(
        default=None, description="Unit × unit; null when exact, or when every pair was seen only once."
    )
    evaluations: int = Field(description="Coalitions asked for on behalf of the interactions.")


class Attribution(ResponseModel):
    """How much each unit of the prompt contributed to the score of the target.

    `values` has one number per unit, in the units of the score (nats for logprob). `values_by_target` is
    unit × column: first the target's tokens, then, with a foil, the foil's tokens counted negatively; of a
    continuation that says what is `explained` of it only those tokens. For a label of a closed set, and for a method
    that was not asked to tell target tokens apart, it is one column. The columns of a unit add up to its value.
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
    baseline: Replacement
    algorithm: str = Field(examples=["exact"])
    evaluations: int = Field(description="Coalitions, or points of a path, whose score was asked for.", examples=[512])
    notes: list[str] = Field(
        default_factory=list, description="What a reader of these values should know, e.g. about quantized weights."
    )
    fast: ReducedPrecision | None = Field(
        default=None, description="What it cost in exactness, where `fast` was asked for."
    )
    faithfulness: Faithfulness | None = Field(default=None, description="Where it was asked for.")
    stopped: StoppingReason | None = Field(default=None, description='Why the sampling ended, with budget "auto".')
    interactions: Interactions | None = Field(default=None, description="Of pairs of units, when asked for.")
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
        return regrouped(self, kind)
