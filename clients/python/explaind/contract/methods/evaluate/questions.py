"""evaluate/questions: how often a model is right, in which ways it is wrong, and what is different inside it then."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from explaind.contract.base import ResponseModel
from explaind.contract.blocks.grading import AnswerForm, Category, FailureRule
from explaind.contract.blocks.questions import QuestionsRequest
from explaind.contract.blocks.subject import MAX_TARGET_TOKENS, Seed
from explaind.contract.method import Method

MOST_COMPARED = 1000  # questions whose activations are kept side by side

StopText = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class QuestionsParams(QuestionsRequest):
    """Ask a model questions and judge what it says."""

    max_new_tokens: int = Field(
        default=32, ge=1, le=MAX_TARGET_TOKENS, description="Most tokens of what is said; worked answers need some 200."
    )
    stop: list[StopText] = Field(
        default_factory=list, max_length=16, description="An answer ends where one of these appears.", examples=[["\n"]]
    )
    answer: AnswerForm = Field(
        default="auto",
        description=(
            "What of the text that was said is the answer; the prompt is never looked at, nor what follows a line that "
            'begins the next question. auto: of a number the one after "####", "answer is" or \\boxed; else the last '
            "number where the question has worked steps, else the first, or what a calculation that begins there comes "
            "to; of yes, no, true and false the first of them or of their synonyms; of other words as many first words "
            "as the right answer has. first_number, last_number: wherever it stands. choice: the first of answer and "
            "foil that is said. first_line: all of the first line."
        ),
    )
    tolerance: float = Field(default=0.0, ge=0.0, description="By how much a number may differ from the right one.")
    confidence: float = Field(default=0.95, gt=0.0, lt=1.0, description="Of the intervals of the accuracies.")
    activations: bool = Field(
        default=False,
        description=(
            "Also compare the residual stream at the prompts' last token between questions that were answered rightly "
            f"and wrongly, of at most {MOST_COMPARED} questions."
        ),
    )
    random_splits: int = Field(
        default=200,
        ge=20,
        le=2000,
        description="Random splits of the questions into as many of each, beside which the activations are compared.",
    )
    seed: Seed = Field(default=0, description="Of the random splits.")


class JudgedQuestion(ResponseModel):
    """A question, what was said, and how it was judged."""

    question: str
    kind: str | None = None
    name: str | None = None
    answer: str = Field(description="The right answer.")
    foil: str | None = None
    said: str = Field(description="What the model said, without a stop text.")
    finish: Literal["end", "stop", "length"] = Field(
        description="end: the model ended; stop: a stop text appeared; length: max_new_tokens was reached."
    )
    extracted: str | None = Field(description="What was taken for its answer; null where there was none.")
    right: bool
    category: Category | None = Field(default=None, description="What kind of mistake; null where it is right.")
    rule: FailureRule | None = Field(default=None, description="The rule that says so.")
    explanation: str | None = Field(default=None, description="What the rule saw.")
    logprob: float = Field(description="Log-probability of the right answer after the prompt, in nats, all its tokens.")
    foil_logprob: float | None = Field(default=None, description="The same of the foil.")


class Accuracy(ResponseModel):
    """How many were right, with Wilson's interval of the share."""

    kind: str | None = Field(default=None, description="Of which kind of question; null: of all, or of no kind.")
    count: int
    right: int
    accuracy: float
    low: float = Field(description="Wilson's interval, its lower end.")
    high: float


class FailureCount(ResponseModel):
    """How many mistakes there were of one kind."""

    category: Category
    count: int
    rules: dict[FailureRule, int] = Field(description="The rules that found them, and how many each.")


class ActivationComparison(ResponseModel):
    """resid_post of each layer at the prompts' last token: the mean of the right beside that of the wrong.

    Two means of few questions always differ. What random splits of the same sizes give tells how much of it says
    anything: `l2_p` is how often their means lie at least as far apart. It is one number per layer: of many layers
    some are small by luck.
    """

    right: int = Field(description="How many questions the first mean is of.")
    wrong: int
    splits: int = Field(description="How many random splits there were.")
    cosine: list[float] = Field(description="[layer]: cosine of the two means.")
    l2: list[float] = Field(description="[layer]: distance of the two means.")
    random_cosine: list[float] = Field(description="[layer]: the mean over the random splits.")
    random_l2: list[float] = Field(description="[layer]: the mean over the random splits.")
    random_l2_high: list[float] = Field(description="[layer]: 95 % of the random splits' distances are below.")
    l2_p: list[float] = Field(description="[layer]: share of splits, this one among them, at least as far apart.")


class QuestionsEvaluation(ResponseModel):
    """How a model answers questions."""

    kind: Literal["questions"] = "questions"
    template: str = Field(description="The prompt, with {question} in the question's place.")
    chat: bool
    answer: AnswerForm
    confidence: float
    total: Accuracy
    by_kind: list[Accuracy] = Field(description="For each kind of question, where there are several.")
    failures: list[FailureCount] = Field(description="All four kinds of mistakes, in order of precedence.")
    mean_logprob: float = Field(description="Mean log-probability of the right answers.")
    mean_difference: float | None = Field(
        description="Mean of log-probability of answer minus that of foil, over the questions that have one."
    )
    preferred: float | None = Field(description="Share of these in which the right answer is the likelier one.")
    questions: list[JudgedQuestion]
    activations: ActivationComparison | None = Field(
        default=None, description="Where it was asked for; null as well where all answers are right, or all wrong."
    )


METHOD = Method(
    verb="evaluate",
    name="questions",
    title="Questions",
    summary=(
        "Ask questions with known answers, find the answers in what is said, tell right from wrong and in which of "
        "four ways it is wrong."
    ),
    params=QuestionsParams,
    result=QuestionsEvaluation,
    cost="one batched forward per token that is said, and the prompts with their answers once",
    example={"model": "demo", "questions": "arithmetic", "max_new_tokens": 6},
    citation="Interval: Wilson, Probable inference, the law of succession, and statistical inference, 1927.",
)
