"""Parts of results: scored tokens and texts, curves, faithfulness, attributions."""

from typing import Literal

from pydantic import Field

from explaind.contract.base import MethodResult, ResponseModel
from explaind.contract.blocks.regrouping import regrouped
from explaind.contract.blocks.subject import Score
from explaind.contract.blocks.units import MessageShare, Unit, UnitKind


class ScoredToken(ResponseModel):
    """A token and its log-probability."""

    text: str = Field(description="Text that the token decodes to.", examples=[" positive"])
    id: int = Field(examples=[417])
    logprob: float | None = Field(
        default=None,
        description=(
            "Log-probability of the token (natural log); null where no token precedes it, or where it was not "
            "requested."
        ),
        examples=[-0.2],
    )


class RankedToken(ScoredToken):
    """A token with its rank and the likeliest tokens at its position."""

    rank: int | None = Field(default=None, description="Rank of the token at its position; 0 when it is the likeliest.")
    top: list[ScoredToken] = Field(default_factory=list, description="Likeliest tokens at this position, best first.")


class ScoredText(ResponseModel):
    """A continuation and its tokens, each scored after the full prompt.

    Where a span is explained, the tokens before it are given, and the tokens after it are not scored.
    """

    text: str = Field(examples=[" positive"])
    tokens: list[ScoredToken]
    explained: tuple[int, int] | None = Field(
        default=None,
        description="Range of the explained tokens, [first, one past the last]; null when all are explained.",
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


class PlacedText(ResponseModel):
    """A text as it stands in the place of some units, with the spaces of the text around it."""

    text: str = Field(examples=[" something"])
    token_ids: list[int]
    units: list[int] = Field(
        default_factory=list, description="Indices of the units that it replaces; empty in a regrouped result."
    )


class Replacement(ResponseModel):
    """The baseline as resolved for this model; for gradient methods, the token whose embedding is the baseline."""

    choice: str = Field(description="Kind of baseline: mask, pad, remove, zero or text.", examples=["mask"])
    text: str | None = Field(
        default=None, description="Text of the replacement: once per token or, for text, once per unit."
    )
    token_ids: list[int] = Field(
        default_factory=list, description="Its tokens; for text those that replace most of the units."
    )
    placed: list[PlacedText] = Field(
        default_factory=list,
        description=(
            "For text: what was put in, with spaces as the text around has them: a leading one where the replaced "
            "text has one, none at the start of the prompt, and as given within a word."
        ),
        examples=[[]],
    )


class Curve(ResponseModel):
    """A line through points, and the area under it by the trapezoidal rule."""

    x: list[float] = Field(description="Coordinates along the x axis, ascending.", examples=[[0.0, 0.5, 1.0]])
    y: list[float] = Field(description="Coordinates along the y axis, one per x.", examples=[[-0.2, -3.1, -9.1]])
    area: float = Field(examples=[-3.9])


class RandomBaseline(ResponseModel):
    """A measure of one order of the units, compared with the same measure of random orders."""

    value: float
    random_mean: float = Field(description="Mean over the random orders.")
    random_deviation: float = Field(description="Standard deviation over the random orders.")
    z: float | None = Field(
        default=None,
        description=(
            "Number of standard deviations by which the measure is better than the mean; negative where it is "
            "worse, null where the random orders do not differ."
        ),
    )
    beats: float = Field(description="Share of the random orders that are worse; a tie counts half.")


class Faithfulness(ResponseModel):
    """Scores of the prompt as units are removed, or inserted, in order of an attribution's values.

    The unit with the largest value, which supports the target most, comes first; of equal values the earlier unit.
    Everything is in the units of the explained score: with `"score": "prob"` comprehensiveness and sufficiency are
    those of DeYoung et al. 2020 (ERASER), the curves those of Petsiuk et al. 2018 (RISE).
    """

    shares: list[float] = Field(description="Shares of the units, rounded up to whole units.")
    comprehensiveness: list[float] = Field(
        description="[share]: full score minus the score without these units; high for a faithful attribution."
    )
    sufficiency: list[float] = Field(
        description="[share]: full score minus the score with these units alone; low for a faithful attribution."
    )
    deletion: Curve = Field(
        description="Score against the share of units removed; falls early for a faithful attribution."
    )
    insertion: Curve = Field(
        description="Score against the share of units inserted; rises early for a faithful attribution."
    )
    random_deletion: Curve = Field(description="Mean deletion curve of the random orders.")
    random_insertion: Curve = Field(description="Mean insertion curve of the random orders.")
    comprehensiveness_mean: RandomBaseline = Field(
        description="Mean comprehensiveness over the shares (AOPC); higher is better."
    )
    sufficiency_mean: RandomBaseline = Field(description="Mean sufficiency over the shares (AOPC); lower is better.")
    deletion_area: RandomBaseline = Field(description="Area under the deletion curve; lower is better.")
    insertion_area: RandomBaseline = Field(description="Area under the insertion curve; higher is better.")
    random_orders: int = Field(examples=[10])
    baseline: Replacement = Field(description="Replacement for a removed unit.")
    evaluations: int = Field(description="Number of distinct coalitions whose score was requested.", examples=[212])


class ReducedPrecision(ResponseModel):
    """Effect of faster, less precise matrix products on the scores: some coalitions were evaluated both ways."""

    products: str = Field(
        description="Type of the matrix products; the model's own where nothing was faster, which a note explains.",
        examples=["bfloat16"],
    )
    largest_difference: float = Field(
        description="Largest difference between the two scores of a coalition, in the units of the score.",
        examples=[0.012],
    )
    checked: int = Field(description="Number of coalitions evaluated both ways.", examples=[16])


class StoppingReason(ResponseModel):
    """Reason why an attribution with `budget: "auto"` stopped."""

    reason: Literal["tolerance", "budget", "exact"] = Field(
        description=(
            "Reason for stopping. tolerance: the standard errors are small enough; budget: max_budget was "
            "spent before they were; exact: nothing was left to sample."
        )
    )
    tolerance: float = Field(description="Requested standard error, in the units of the score.")
    largest_standard_error: float | None = Field(
        default=None,
        description=(
            "Largest standard error of any unit; 0 when exact, null for partition before its hierarchy is complete."
        ),
    )


class Interactions(ResponseModel):
    """Shapley interaction indices of all pairs of units (Grabisch & Roubens 1999).

    `values` is unit × unit and symmetric, in the units of the score: how much more (or less) two units together change
    the score than each alone, averaged over which other units are present. Positive: the units need each other.
    Negative: they are redundant. The diagonal is 0: a unit does not interact with itself.
    """

    values: list[list[float]] = Field(description="[unit][unit]: interaction index; symmetric, 0 on the diagonal.")
    standard_errors: list[list[float]] | None = Field(
        default=None,
        description="[unit][unit]: standard error; null when exact, or when pairs were met too rarely.",
    )
    evaluations: int = Field(description="Number of coalitions requested for the interactions.")


class Attribution(MethodResult):
    """Contribution of each unit of the prompt to the score of the target.

    `values` has one number per unit, in the units of the score (nats for logprob). `values_by_target` is unit × column:
    first the target's tokens, then, with a foil, the foil's tokens counted negatively; for a continuation with a span
    in `explained`, only the tokens of the span. For a label of a closed set, and for a method run without separate
    values per target token, it is one column. The columns of a unit add up to its value.
    """

    kind: Literal["attribution"] = "attribution"
    prompt: str = Field(description="Explained text; for messages, as written by the chat template.")
    units: list[Unit]
    values: list[float] = Field(description="[unit]: contribution to the score.")
    values_by_target: list[list[float]] = Field(
        description="[unit][target token, then foil token]: contribution to the score."
    )
    standard_errors: list[float] | None = Field(
        default=None,
        description=(
            "[unit]: standard error of the value, for estimators that sample; null when the values are exact "
            "or the errors cannot be known."
        ),
    )
    base_value: float = Field(description="Score with every unit absent.")
    full_value: float = Field(description="Score with every unit present.")
    completeness_gap: float = Field(description="full_value − base_value − the sum of the values.")
    score: Score
    target: ScoredText
    foil: ScoredText | None = None
    labels: list[ScoredText] | None = Field(default=None, description="Closed set of answers, where one was given.")
    baseline: Replacement
    algorithm: str = Field(examples=["exact"])
    evaluations: int = Field(
        description="Number of coalitions, or points of a path, whose score was requested.", examples=[512]
    )
    n_steps: int | None = Field(
        default=None,
        description=(
            "Number of points of the path that the values come from, with integrated gradients; `evaluations` counts "
            "those of earlier doublings too."
        ),
        examples=[None],
    )
    fast: ReducedPrecision | None = Field(
        default=None, description="Loss of exactness, where precision `fast` was requested."
    )
    faithfulness: Faithfulness | None = Field(default=None, description="Faithfulness check, where it was requested.")
    stopped: StoppingReason | None = Field(
        default=None, description='Reason why the sampling ended, with budget "auto".'
    )
    interactions: Interactions | None = Field(
        default=None, description="Interactions of pairs of units, where they were requested."
    )
    unit_kind: UnitKind | Literal["segments"] | None = Field(
        default=None, description="Kind of the units; null where it is not known.", examples=["word"]
    )
    groups: dict[UnitKind, list[list[int]]] = Field(
        default_factory=dict,
        description=(
            "For each coarser kind of unit: its units, each as the indices of the units here that it contains."
        ),
        examples=[{}],
    )
    summed_from: UnitKind | None = Field(
        default=None,
        description="Kind of unit that was explained, where the values here are sums over such units; else null.",
        examples=[None],
    )
    by_message: list[MessageShare] | None = Field(
        default=None, description="Sum of the values of each message's units, for a chat.", examples=[None]
    )
    by_role: dict[str, float] | None = Field(
        default=None, description="Sum of the values of each role's messages, for a chat.", examples=[None]
    )

    @property
    def top(self) -> int:
        """Index of the unit that raised the score most."""
        return max(range(len(self.values)), key=self.values.__getitem__)

    def regrouped(self, kind: UnitKind) -> "Attribution":
        """The same result by larger units: values are summed, nothing is computed again.

        Standard errors cannot be summed without their covariances and become None, as does anything else about single
        units. A sum of Shapley values is not the Shapley value of the larger unit as one player; for that, submit a
        request with those units.

        Raises:
            InvalidUnits: the result has no units of that kind.
        """
        return regrouped(self, kind)
