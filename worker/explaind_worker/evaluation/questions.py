"""Turns a request's questions into prompts and answers, checked before the model's weights are loaded."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from explaind.contract.blocks.questions import PLACE, AskedQuestion, DatasetQuestions, InlineQuestions, QuestionsRequest
from explaind.contract.blocks.subject import MAX_PROMPT_CHARS, Message, PromptRequest
from explaind.contract.errors import ChatTemplateRefuses, ExplaindError, InvalidRequest, InvalidTarget, NoChatTemplate
from explaind_worker.engine.scoring.score_query import TokenIds
from explaind_worker.evaluation.question_sets import QUESTION_SETS, TEMPLATES
from explaind_worker.models.text.tokenizer import EncodedPrompt
from explaind_worker.session.prompt_limits import check_fits, encode_part
from explaind_worker.session.session import Session

FINAL = "####"  # what GSM8K puts before the answer, after the solution steps
WORKED = re.compile(r"<<[^<>=]*=([^<>]+)>>")  # a calculation in GSM8K's solution steps


@dataclass(frozen=True)
class EvalPrompt:
    """A question in model inputs: the prompt, and the tokens of the reference answer and of the foil after it."""

    question: AskedQuestion
    prompt: EncodedPrompt
    answer_ids: TokenIds
    foil_ids: TokenIds | None


@dataclass(frozen=True)
class _Given:
    """A question, and the request fields from which it, its answer and its foil come."""

    question: AskedQuestion
    question_at: str
    answer_at: str
    foil_at: str
    row: int | None = None

    def named(self, error: ExplaindError, pointer: str) -> ExplaindError:
        """The error with the pointer of its field and the number of the dataset's row."""
        detail = error.detail if self.row is None else f"Row {self.row}: {error.detail}"
        return type(error).at(pointer, detail, hint=error.hint)


def asked_of(request: QuestionsRequest, session: Session) -> list[EvalPrompt]:
    """The request's questions in order, each with its prompt and the tokens of its answers.

    Raises:
        InvalidRequest: a question or an answer cannot be used with this model, or a dataset has no such column.
        NoChatTemplate: they are to be sent as chat messages, and the model has no template.
    """
    template = template_of(request)
    return [_asked(given, request, template, session) for given in _given(request, session)]


def template_of(request: QuestionsRequest) -> str:
    """The request's template, or its default: that of a built-in set, or the question alone in a chat."""
    if request.template is not None:
        return request.template
    if request.chat or not isinstance(request.questions, str):
        return PLACE
    return TEMPLATES[request.questions]


def spaced(prompt: str, answer: str, *, chat: bool) -> str:
    """The answer as appended to the prompt: after a space, unless there is one already or a turn begins."""
    if chat or prompt[-1:].isspace() or answer[:1].isspace():
        return answer
    return f" {answer}"


def _asked(given: _Given, request: QuestionsRequest, template: str, session: Session) -> EvalPrompt:
    question = given.question
    text = template.replace(PLACE, question.question)
    if len(text) > MAX_PROMPT_CHARS:
        message = f"With the template the question is longer than {MAX_PROMPT_CHARS:,} characters."
        raise given.named(InvalidRequest(message), given.question_at)
    messages = [Message(role="user", content=text)] if request.chat else None
    asked = PromptRequest(model=request.model, prompt=None if request.chat else text, messages=messages)
    try:
        prompt = encode_part(session.model_access, asked, given.question_at)
    except (NoChatTemplate, ChatTemplateRefuses) as error:
        raise type(error).at("/chat", error.detail, hint="Ask without 'chat', with a template of your own.") from None
    except InvalidRequest as error:
        raise given.named(error, given.question_at) from None

    def continuation(answer: str, pointer: str) -> TokenIds:
        try:
            ids = session.model_access.continuation(
                prompt, spaced(prompt.text, answer, chat=request.chat), pointer=pointer
            )
            check_fits(session.model_access, prompt, len(ids), pointer)
        except InvalidRequest as error:
            raise given.named(error, pointer) from None
        return ids

    answer_ids = continuation(question.answer, given.answer_at)
    foil_ids = None if question.foil is None else continuation(question.foil, given.foil_at)
    if foil_ids == answer_ids:
        same = InvalidTarget("Answer and foil are the same tokens.", hint="Give another foil, or none.")
        raise given.named(same, given.foil_at)
    return EvalPrompt(question, prompt, answer_ids, foil_ids)


def _given(request: QuestionsRequest, session: Session) -> Iterator[_Given]:
    """The questions, with their answers separated from the solution steps."""
    questions = request.questions
    if isinstance(questions, InlineQuestions):
        for index, question in enumerate(questions.questions):
            at = f"/questions/questions/{index}"
            yield _Given(_final(question, f"{at}/answer"), f"{at}/question", f"{at}/answer", f"{at}/foil")
    elif isinstance(questions, DatasetQuestions):
        yield from _rows(questions, session)
    else:
        for question in QUESTION_SETS[questions]:
            yield _Given(_final(question, "/questions"), "/questions", "/questions", "/questions")


def _rows(asked: DatasetQuestions, session: Session) -> Iterator[_Given]:
    rows = session.job.files.rows(asked.dataset, pointer="/questions/dataset")[: asked.limit]
    if not rows:
        raise InvalidRequest.at("/questions/dataset", f"The dataset {asked.dataset} has no rows.")
    wanted = {"question": asked.question, "answer": asked.answer, "foil": asked.foil, "kind": asked.kind}
    columns = list(dict.fromkeys(name for row in rows for name in row))
    for field, column in wanted.items():
        if column is not None and column not in columns:
            raise InvalidRequest.at(
                f"/questions/{field}",
                f"The dataset has no column {column!r}.",
                hint=f"Its columns: {', '.join(map(repr, columns))}.",
            )
    for number, row in enumerate(rows):
        texts = {
            field: _text(row, column, f"/questions/{field}", number, needed=field in {"question", "answer"})
            for field, column in wanted.items()
            if column is not None
        }
        try:
            question = AskedQuestion.model_validate({field: text for field, text in texts.items() if text is not None})
        except ValueError as error:
            raise InvalidRequest.at(
                "/questions/dataset", f"Row {number} is no question: a text is too long."
            ) from error
        yield _Given(
            _final(question, "/questions/answer"), "/questions/question", "/questions/answer", "/questions/foil", number
        )


def _text(row: Mapping[str, Any], column: str, pointer: str, number: int, *, needed: bool) -> str | None:
    """A row's text in a column; numbers are converted to text; None for an optional value that is missing."""
    value = row.get(column)
    written = "" if value is None else str(value)
    if not written.strip():
        if needed:
            raise InvalidRequest.at(pointer, f"Row {number} has nothing in column {column!r}.")
        return None
    return written


def _final(question: AskedQuestion, pointer: str) -> AskedQuestion:
    """The question with a GSM8K answer split into the final answer and the results of its steps."""
    worked, mark, answer = question.answer.rpartition(FINAL)
    if not mark:
        return question
    answer = answer.strip()
    if not answer:
        raise InvalidTarget.at(pointer, f"Nothing follows {FINAL} in the answer.", hint="Give the answer itself.")
    steps = question.steps or [step.strip() for step in WORKED.findall(worked)]
    # The last step is usually the answer itself.
    return question.model_copy(update={"answer": answer, "steps": [step for step in steps if step != answer][:64]})
