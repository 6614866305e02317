"""What ablations have in common: questions with known answers, what takes a part's place, how its loss is measured."""

from typing import Literal

from pydantic import Field, model_validator

from explaind.contract.base import ResponseModel, wrong
from explaind.contract.blocks.grading import AnswerForm
from explaind.contract.blocks.questions import QuestionsRequest
from explaind.contract.blocks.subject import MAX_TARGET_TOKENS, Seed

NEW_TOKENS = 16  # of an answer, where the request does not say

Ablation = Literal["zero", "mean", "resample"]
Metric = Literal["logprob", "logit_difference", "accuracy"]
Positions = Literal["all", "last"]


class AblationRequest(QuestionsRequest):
    """Removes components of the model and asks the questions again."""

    ablation: Ablation = Field(
        default="zero",
        description=(
            "What replaces the output of an ablated component. zero: nothing. mean: its mean over all tokens of all "
            "prompts, which keeps what is always there. resample: its output in another of the questions, drawn by "
            "`seed`, at the same distance from the prompt's end; after it, at that question's right answer."
        ),
    )
    metric: Metric = Field(
        default="logprob",
        description=(
            "How well a question is answered. logprob: log-probability of the right answer, all its tokens. "
            "logit_difference: logit of the right answer minus that of the foil at the first token where they differ; "
            "every question needs a foil. accuracy: whether the generated answer is right."
        ),
    )
    positions: Positions = Field(
        default="all",
        description="Where it is ablated: all tokens, or the prompt's last one and those of the answer after it.",
    )
    max_new_tokens: int | None = Field(
        default=None,
        ge=1,
        le=MAX_TARGET_TOKENS,
        description=f"With metric accuracy the most tokens of a generated answer; null: {NEW_TOKENS}.",
    )
    answer: AnswerForm = Field(
        default="auto",
        description="With metric accuracy how the answer is found in what the model says, as in evaluate/questions.",
    )
    confidence: float = Field(
        default=0.95, gt=0.0, lt=1.0, description="Of the intervals around the mean effects, over the questions."
    )
    seed: Seed = Field(default=0, description="Of the draws of resample.")

    @model_validator(mode="after")
    def _new_tokens_are_generated(self) -> "AblationRequest":
        if self.max_new_tokens is not None and self.metric != "accuracy":
            raise wrong("/max_new_tokens", "Nothing is generated unless the metric is accuracy: leave this out.")
        return self


class Failures(ResponseModel):
    """How the questions were answered wrongly, clean and with components ablated; of the strongest only.

    Categories are those of evaluate/questions. A row of the counts is one component, a column one category.
    """

    categories: list[str] = Field(examples=[["incomplete", "wrong_operation", "off_by_one", "hallucination"]])
    clean: list[int] = Field(description="[category]: wrong answers of the whole model.")
    clean_said: list[str] = Field(description="[question]: what the whole model said.")
    components: list[str] = Field(description="The components, the strongest first.", examples=[["layer 2, head 5"]])
    ablated: list[list[int]] = Field(description="[component][category]")
    ablated_said: list[list[str]] = Field(description="[component][question]: what the model said without it.")


class Ablated(ResponseModel):
    """What every ablation tells. An effect is the metric of the whole model minus that of the ablated one.

    So a component with a positive effect helped, and one with a negative effect stood in the way. Intervals are
    Student's t intervals of the mean of the paired differences over the questions, one component at a time: of many
    some are far out by luck alone. They are null where there is one question only.
    """

    ablation: Ablation
    metric: Metric
    positions: Positions
    confidence: float
    prompts: list[str] = Field(description="[question]: as the model read it.")
    answers: list[str] = Field(description="[question]: the right answer as it was scored.")
    foils: list[str | None] = Field(description="[question]")
    clean: list[float] = Field(description="[question]: the metric of the whole model; 1 or 0 for accuracy.")
    clean_mean: float
    clean_low: float | None = None
    clean_high: float | None = None
    failures: Failures | None = Field(default=None, description="With metric accuracy.")
    evaluations: int = Field(description="Ablated runs: components, or sets of them, times questions.", examples=[256])
