"""Questions with known answers: a built-in set, your own, or the rows of a dataset, and how a prompt is made of one."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, Tag

from explaind.contract.base import RequestModel, by_key, wrong
from explaind.contract.blocks.subject import MAX_PROMPT_CHARS, ContinuationText, ModelRequest
from explaind.contract.files import ColumnName, DatasetColumns

MAX_QUESTIONS = 10_000
PLACE = "{question}"

QuestionSet = Literal["arithmetic", "multistep", "logic", "gsm8k"]
QuestionText = Annotated[str, StringConstraints(min_length=1, max_length=MAX_PROMPT_CHARS)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=100)]
StepText = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class AskedQuestion(RequestModel):
    """A question and its right answer.

    An answer that holds `####` is read as GSM8K writes it: what follows is the answer, what comes before the worked
    steps.
    """

    question: QuestionText = Field(examples=["12 + 7 ="])
    answer: ContinuationText = Field(description="The right answer.", examples=["19"])
    foil: ContinuationText | None = Field(
        default=None, description="A wrong answer of the same form, to compare the right one with.", examples=["18"]
    )
    kind: Label | None = Field(default=None, description="What kind of question it is.", examples=["addition"])
    name: Label | None = Field(default=None, description="What to call it.", examples=[None])
    steps: list[StepText] = Field(
        default_factory=list,
        max_length=64,
        description="What the steps on the way to the answer come to; read from an answer in GSM8K's form.",
        examples=[[]],
    )


class InlineQuestions(RequestModel):
    """Your own questions."""

    questions: list[AskedQuestion] = Field(min_length=1, max_length=MAX_QUESTIONS)


class DatasetQuestions(DatasetColumns):
    """The rows of a dataset, each a question."""

    question: ColumnName = Field(default="question", description="The column that holds the question.")
    answer: ColumnName = Field(default="answer", description="The column that holds the right answer.")
    foil: ColumnName | None = Field(default=None, description="The column that holds a wrong answer, if there is one.")
    kind: ColumnName | None = Field(default=None, description="The column that says what kind it is, if there is one.")
    limit: int = Field(default=100, ge=1, le=MAX_QUESTIONS, description="Only the first so many rows.")


Questions = Annotated[
    Annotated[QuestionSet, Tag("~Plain")]
    | Annotated[InlineQuestions, Tag("~InlineQuestions")]
    | Annotated[DatasetQuestions, Tag("~DatasetQuestions")],
    by_key(dataset="~DatasetQuestions", questions="~InlineQuestions"),
]


def _one_place(template: str) -> str:
    if template.count(PLACE) != 1:
        raise wrong("", f"The template must hold {PLACE} once; it holds it {template.count(PLACE)} times.")
    return template


Template = Annotated[str, StringConstraints(max_length=MAX_PROMPT_CHARS), AfterValidator(_one_place)]


class QuestionsRequest(ModelRequest):
    """A request about questions with known answers.

    An answer is scored as it follows the prompt: a space is put before it unless the prompt ends in whitespace or the
    answer begins with it. In a chat the answer is how the assistant's turn begins, and nothing is put before it.
    """

    questions: Questions = Field(
        default="arithmetic",
        description=(
            'A built-in set, {"questions": […]}, or {"dataset": "ds_…", "question", "answer"} with the names of its '
            "columns."
        ),
        examples=["arithmetic"],
    )
    template: Template | None = Field(
        default=None,
        description=(
            f"The prompt, {PLACE} in it standing for the question: write instructions and worked examples around it. "
            f'null: the built-in set\'s own, else "{PLACE}" alone.'
        ),
        examples=[PLACE],
    )
    chat: bool = Field(
        default=False,
        description="Ask it as a user's message, through the model's own chat template.",
    )
