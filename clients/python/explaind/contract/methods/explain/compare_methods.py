"""explain/compare-methods: several attributions of one request, and their agreement."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, Tag, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from explaind.contract.base import MethodResult, RequestModel, ResponseModel, by_key, wrong
from explaind.contract.blocks.attribution import AttributionRequest, PerturbationRequest
from explaind.contract.blocks.attribution_result import (
    Attribution,
    Faithfulness,
    ReducedPrecision,
    Replacement,
    ScoredText,
)
from explaind.contract.blocks.faithfulness import FaithfulnessOptions
from explaind.contract.blocks.subject import Score, Seed
from explaind.contract.blocks.units import Unit
from explaind.contract.errors import Problem, field_errors
from explaind.contract.method import Method
from explaind.contract.near_miss import near_miss
from explaind.contract.registry import all_methods

MAX_MEMBERS = 16
PREFERRED = ("shap", "feature-ablation", "integrated-gradients", "input-x-gradient")


class ComparedSpec(RequestModel):
    """One of the compared methods, with fields of its own."""

    method: str = Field(
        min_length=1, max_length=100, description="Name of the method, without the verb.", examples=["shap"]
    )
    params: dict[str, Any] = Field(
        default_factory=dict,
        description="Fields of that method alone; the subject, units and baseline are those of the comparison.",
        examples=[{"algorithm": "kernel"}],
    )


def _as_member(value: str | ComparedSpec) -> ComparedSpec:
    return ComparedSpec(method=value) if isinstance(value, str) else value


# A bare name is short for {"method": …}; validated members are always ComparedSpec.
MemberChoice = Annotated[
    Annotated[str, Field(min_length=1, max_length=100), Tag("~Plain")] | Annotated[ComparedSpec, Tag("~ComparedSpec")],
    by_key(method="~ComparedSpec"),
    AfterValidator(_as_member),
]


class CompareMethodsParams(PerturbationRequest):
    """Request that explains the same subject by several methods in one job."""

    methods: list[MemberChoice] | None = Field(
        default=None,
        min_length=2,
        max_length=MAX_MEMBERS,
        description=(
            'Names of methods of /explain whose result is an attribution, or {"method", "params"}; null: '
            f"{', '.join(PREFERRED)}, as far as the service has them."
        ),
        examples=[["shap", {"method": "shap", "params": {"algorithm": "permutation"}}]],
    )
    top_k: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Number of strongest units to compare; null: a fifth of the units, rounded up.",
    )
    seed: Seed = Field(default=0, description="Seed given to every method that has one and does not set its own.")

    @property
    def members(self) -> list[ComparedSpec]:
        """The compared methods."""
        return [_as_member(member) for member in self.methods or []]

    def request_of(self, member: ComparedSpec) -> AttributionRequest:
        """The equivalent request for this member alone.

        Raises:
            ValidationError: its fields are not valid.
        """
        params = comparable_methods()[member.method].params_model
        shared = (PerturbationRequest.model_fields.keys() - self.job_fields) | {"seed"}
        given = {name: getattr(self, name) for name in shared & set(params.model_fields)}
        if not issubclass(params, PerturbationRequest) and not self._baseline_suits_embeddings:
            given.pop("baseline", None)
        if isinstance(self.faithfulness, FaithfulnessOptions) and self.faithfulness.baseline is None:
            # All are evaluated in the same game, whatever a method's own baseline is.
            given["faithfulness"] = self.faithfulness.model_copy(update={"baseline": self.baseline})
        request = params.model_validate({**given, **member.params})
        assert isinstance(request, AttributionRequest)  # noqa: S101 - true of every comparable method
        return request

    @property
    def _baseline_suits_embeddings(self) -> bool:
        """Whether gradient methods get the baseline too: if one was given, and it has embeddings."""
        return "baseline" in self.model_fields_set and self.baseline != "remove"

    @model_validator(mode="after")
    def _every_member_is_valid(self) -> "CompareMethodsParams":
        known = comparable_methods()
        if self.methods is None:
            self.methods = [ComparedSpec(method=name) for name in PREFERRED if name in known]
        for index, member in enumerate(self.members):
            if member.method not in known:
                raise wrong(
                    f"/methods/{index}",
                    f"No method of /explain that attributes is called {member.method!r}. "
                    f"{near_miss(member.method, known)}",
                )
            for name in member.params:
                if name in PerturbationRequest.model_fields and name not in _own_fields(known[member.method]):
                    raise wrong(f"/methods/{index}/params/{name}", "This is the same for all: say it once, outside.")
            try:
                self.request_of(member)
            except ValidationError as error:
                raise _within(error, index, member, known[member.method]) from None
        return self


def _own_fields(method: Method[..., Any]) -> set[str]:
    """Fields that a member may set itself: all but those shared with the comparison."""
    common = PerturbationRequest if issubclass(method.params_model, PerturbationRequest) else AttributionRequest
    return set(method.params_model.model_fields) - set(common.model_fields)


def member_pointer(pointer: str, index: int, member: ComparedSpec) -> str:
    """Pointer, in the request for the comparison, to a field of one member."""
    first = pointer.removeprefix("/").partition("/")[0]
    shared = first in PerturbationRequest.model_fields and first not in member.params
    return pointer if shared else f"/methods/{index}/params{pointer}"


def _within(error: ValidationError, index: int, member: ComparedSpec, method: Method[..., Any]) -> PydanticCustomError:
    first = error.errors()[0]
    field = field_errors([first])[0]
    detail = field.detail
    if first["type"] == "extra_forbidden":
        own = sorted(_own_fields(method))
        detail = "There is no such field. " + (
            near_miss(str(first["loc"][-1])[:100], own) if own else f"{member.method} has none of its own."
        )
    return wrong(member_pointer(field.pointer, index, member), detail)


def comparable_methods() -> dict[str, Method[..., Any]]:
    """The methods of /explain whose result is an attribution, by name."""
    return {
        method.name: method
        for method in all_methods().values()
        if method.verb == "explain"
        and issubclass(method.result, Attribution)
        and issubclass(method.params_model, AttributionRequest)
    }


class ComparedMethod(ResponseModel):
    """One row of the comparison: the values and the cost of a method, or the reason why it failed."""

    label: str = Field(description="Name of the method, numbered where it is compared with itself.", examples=["shap"])
    method: str = Field(examples=["shap"])
    params: dict[str, Any] = Field(default_factory=dict, description="Fields given for this method alone.")
    values: list[float] | None = Field(default=None, description="[unit]: value; null when the method failed.")
    standard_errors: list[float] | None = None
    base_value: float | None = Field(
        default=None, description="Score with every unit absent, in the sense of this method."
    )
    full_value: float | None = None
    completeness_gap: float | None = Field(default=None, description="full_value − base_value − the sum of the values.")
    algorithm: str | None = Field(default=None, examples=["exact"])
    n_steps: int | None = Field(default=None, description="Number of points of the path, with integrated gradients.")
    evaluations: int | None = Field(
        default=None, description="Number of coalitions or points whose score was requested."
    )
    seconds: float = Field(
        description="Seconds of work; evaluations already made by an earlier method cost a later one nothing."
    )
    forwards: int = 0
    tokens_evaluated: int = 0
    faithfulness: Faithfulness | None = None
    fast: ReducedPrecision | None = Field(
        default=None, description="Loss of exactness, where precision `fast` was requested and the method has it."
    )
    error: Problem | None = Field(
        default=None, description="Reason for the failure of this method; the other methods are not affected."
    )


class Agreement(ResponseModel):
    """Agreement of the methods that succeeded, method × method; null where it is not defined.

    Spearman: rank correlation of the signed values, ties at their mean rank; null where all values are equal. Top
    overlap: share of the k units of the largest magnitude that two methods have in common (Krishna et al. 2022, feature
    agreement); of equal magnitudes the earlier unit. Cosine: of the values; null where all are zero.
    """

    labels: list[str]
    spearman: list[list[float | None]]
    top_overlap: list[list[float | None]]
    cosine: list[list[float | None]]
    top_k: int = Field(description="Number k of units in the top overlap.", examples=[5])
    top_overlap_by_chance: float = Field(description="Average top overlap of two random choices of k units.")


class MethodComparison(MethodResult):
    """One subject explained by several methods: the units once, a row per method, and their agreement."""

    kind: Literal["method_comparison"] = "method_comparison"
    prompt: str = Field(description="Explained text; for messages, as written by the chat template.")
    units: list[Unit]
    score: Score
    target: ScoredText
    foil: ScoredText | None = None
    labels: list[ScoredText] | None = Field(default=None, description="Closed set of answers, where one was given.")
    baseline: Replacement = Field(description="Replacement for absent units in perturbation methods.")
    methods: list[ComparedMethod]
    agreement: Agreement


METHOD = Method(
    verb="explain",
    name="compare-methods",
    title="Compare methods",
    summary="Explains one subject by several methods in one job: their values side by side, and how far they agree.",
    params=CompareMethodsParams,
    result=MethodComparison,
    citation=(
        "Attanasio et al. 2023, ferret; Krishna et al. 2022, The Disagreement Problem; "
        "DeYoung et al. 2020, ERASER; Petsiuk et al. 2018, RISE"
    ),
    version="2",
    cost="sum over its methods, less the evaluations they share",
    example={
        "model": "demo",
        "prompt": "Review: The food was great. Sentiment:",
        "target": " positive",
        "foil": " negative",
        "methods": ["shap", "feature-ablation"],
        "faithfulness": True,
    },
)
