"""Questions with known answers: a built-in set, inline ones, or the rows of a dataset; and their prompt template."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, Tag

from explaind.contract.base import RequestModel, by_key, wrong
from explaind.contract.blocks.subject import MAX_PROMPT_CHARS, ContinuationText
from explaind.contract.files import ColumnName, DatasetColumns
from explaind.contract.names import ONE_LINE
from explaind.contract.request import ModelRequest

MAX_QUESTIONS = 10_000
PLACE = "{question}"

QuestionSet = Literal["arithmetic", "multistep", "logic", "gsm8k"]
QuestionText = Annotated[str, StringConstraints(min_length=1, max_length=MAX_PROMPT_CHARS)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=ONE_LINE)]
StepText = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class AskedQuestion(RequestModel):
    """A question and its right answer.

    An answer that contains `####` is read in GSM8K's form: the text after it is the answer, the text before it the
    worked steps.
    """

    question: QuestionText = Field(examples=["12 + 7 ="])
    answer: ContinuationText = Field(description="Right answer.", examples=["19"])
    foil: ContinuationText | None = Field(
        default=None, description="Wrong answer of the same form, to compare with the right one.", examples=["18"]
    )
    kind: Label | None = Field(default=None, description="Kind of the question.", examples=["addition"])
    name: Label | None = Field(default=None, description="Name of the question.", examples=[None])
    steps: list[StepText] = Field(
        default_factory=list,
        max_length=64,
        description="Results of the intermediate steps to the answer; read from an answer in GSM8K's form.",
        examples=[[]],
    )


class InlineQuestions(RequestModel):
    """Questions given in the request."""

    questions: list[AskedQuestion] = Field(min_length=1, max_length=MAX_QUESTIONS)


class DatasetQuestions(DatasetColumns):
    """Questions from the rows of a dataset."""

    question: ColumnName = Field(default="question", description="Column with the question.")
    answer: ColumnName = Field(default="answer", description="Column with the right answer.")
    foil: ColumnName | None = Field(default=None, description="Column with a wrong answer, if there is one.")
    kind: ColumnName | None = Field(default=None, description="Column with the kind of question, if there is one.")
    limit: int = Field(default=100, ge=1, le=MAX_QUESTIONS, description="Maximum rows to read, from the first.")


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
    """Request about questions with known answers.

    An answer is scored as it follows the prompt: a space is inserted before it unless the prompt ends in whitespace or
    the answer begins with it. In a chat the answer is the beginning of the assistant's turn, and nothing is inserted
    before it.
    """

    questions: Questions = Field(
        default="arithmetic",
        description=(
            'Questions to evaluate: a built-in set, {"questions": […]}, or {"dataset": "ds_…", "question", '
            '"answer"} with the names of its columns.'
        ),
        examples=["arithmetic"],
    )
    template: Template | None = Field(
        default=None,
        description=(
            f"Prompt template, in which {PLACE} stands for the question; instructions and worked examples go "
            f'around it. null: the built-in set\'s own, else "{PLACE}" alone.'
        ),
        examples=[PLACE],
    )
    chat: bool = Field(
        default=False,
        description="Whether to send the prompt as a user message through the model's own chat template.",
    )
