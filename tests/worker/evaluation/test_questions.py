"""Questions become prompts and answers, or are refused by the field at fault, before any weight is touched."""

import re
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from explaind.contract.blocks.questions import QuestionsRequest
from explaind.contract.errors import InvalidRequest, InvalidTarget, NoChatTemplate, PromptTooLong, field_errors
from explaind_jobs.catalogue import DEMO
from explaind_worker.evaluation.question_sets import QUESTION_SETS
from explaind_worker.evaluation.questions import asked_of, spaced
from explaind_worker.session.session import Session

DATASET = "ds_" + "0" * 26


@pytest.fixture
def ask(pool, tiny_model):
    """`ask(rows, **fields)`: the questions of such a request, and the session, of a dataset with those rows."""

    def asked(rows=None, *, entry=None, **fields):
        entry = entry or tiny_model("llama")
        with Session(entry, pool, lambda *_: None) as session:
            session.job.kept_files = SimpleNamespace(rows=lambda named, pointer: rows if named == DATASET else None)
            found = asked_of(QuestionsRequest.model_validate({"model": entry.name, **fields}), session)
            assert not session.model_access.loaded
            return found, session

    return asked


def refused(**fields):
    with pytest.raises(ValidationError) as caught:
        QuestionsRequest.model_validate({"model": "m", **fields})
    return [(e.pointer, e.detail) for e in field_errors(caught.value.errors())]


def one(question="3 + 4 =", answer="7", **fields):
    return {"questions": [{"question": question, "answer": answer, **fields}]}


@pytest.mark.parametrize("name", QUESTION_SETS)
def test_the_built_in_sets_can_be_asked(ask, name):
    found, _ = ask(questions=name, entry=DEMO)
    assert len(found) == {"arithmetic": 8, "multistep": 5, "logic": 4, "gsm8k": 5}[name]
    for asked in found:
        assert asked.foil_ids is not None
        assert asked.question.kind
        assert "####" not in asked.question.answer
        assert asked.question.answer not in asked.question.steps
        assert asked.question.foil not in {asked.question.answer, *asked.question.steps}


def test_the_worked_steps_of_the_word_problems_are_right():
    for question in QUESTION_SETS["gsm8k"]:
        worked, _, final = question.answer.partition("####")
        steps = re.findall(r"<<([^=]+)=([^>]+)>>", worked)
        assert steps[-1][1] == final.strip()
        for calculation, result in steps:
            assert eval(calculation) == float(result)  # noqa: S307 - of the sets' own sums


@pytest.mark.parametrize(
    ("prompt", "answer", "chat", "follows"),
    [
        ("3 + 4 =", "7", False, " 7"),
        ("3 + 4 = ", "7", False, "7"),
        ("3 + 4 =\n", "7", False, "7"),
        ("3 + 4 =", " 7", False, " 7"),
        ("3 + 4 =", "\n7", False, "\n7"),
        ("<|user|>3 + 4 =<|assistant|>", "7", True, "7"),
    ],
)
def test_the_space_before_an_answer(prompt, answer, chat, follows):
    assert spaced(prompt, answer, chat=chat) == follows


def test_answers_follow_the_prompt_as_the_model_would_meet_them(ask):
    (asked,), session = ask(questions=one(foil="8"))
    whole = session.model_access.encoder.tokenizer("3 + 4 = 7")["input_ids"]
    assert [*asked.prompt.token_ids, *asked.answer_ids] == whole
    assert session.model_access.encoder.text_of(asked.foil_ids, after=asked.prompt.token_ids) == " 8"


def test_the_template_is_filled_by_plain_replacement(ask):
    (asked,), _ = ask(questions=one("{0} {x}"), template="{y} Q: {question}\nA:")
    assert asked.prompt.text == "{y} Q: {0} {x}\nA:"


def test_a_chat_goes_through_the_models_own_template(ask):
    (asked,), session = ask(questions=one(), template="Say: {question}", chat=True)
    assert asked.prompt.text == "<s><|user|>Say: 3 + 4 =<|assistant|>"
    assert session.model_access.encoder.text_of(asked.answer_ids, after=asked.prompt.token_ids) == "7"


@pytest.mark.parametrize("template", ["none", "{question} {question}", ""])
def test_a_template_holds_the_question_once(template):
    ((pointer, detail),) = refused(template=template)
    assert pointer == "/template"
    assert "must hold {question} once" in detail


def test_shapes_are_told_apart_by_their_keys():
    assert refused(questions="arithmetics")[0][0] == "/questions"
    assert refused(questions={"questions": []})[0][0] == "/questions/questions"
    assert refused(questions={"questions": [{"question": "x"}]}) == [
        ("/questions/questions/0/answer", "Field required")
    ]
    assert refused(questions={"dataset": "ds_"})[0][0] == "/questions/dataset"
    assert "holds one of: dataset, questions" in refused(questions={"rows": []})[0][1]


def test_the_field_at_fault_is_named(ask):
    good = one()["questions"]
    with pytest.raises(InvalidTarget) as same:
        ask(questions={"questions": [*good, *one(foil="7")["questions"]]})
    assert same.value.errors[0].pointer == "/questions/questions/1/foil"
    with pytest.raises(PromptTooLong) as long:
        ask(questions={"questions": [*good, *good, *one("word " * 200)["questions"]]})
    assert long.value.errors[0].pointer == "/questions/questions/2/question"
    with pytest.raises(InvalidRequest) as target:
        ask(questions={"questions": [*good, *one(answer="7 and " * 90)["questions"]]})
    assert target.value.errors[0].pointer == "/questions/questions/1/answer"
    with pytest.raises(InvalidTarget) as nothing:
        ask(questions=one(answer="#### "))
    assert nothing.value.errors[0].pointer == "/questions/questions/0/answer"


def test_a_chat_needs_a_template_of_the_model(ask, monkeypatch):
    _, session = ask()
    monkeypatch.setattr(session.model_access.encoder.tokenizer, "chat_template", None)
    with pytest.raises(NoChatTemplate) as caught:
        ask(chat=True)
    assert caught.value.errors[0].pointer == "/chat"


def test_the_rows_of_a_dataset_are_asked(ask):
    rows = [
        {"q": "3 + 4 =", "a": 7, "wrong": "8"},
        {"q": "Anna has 2 * 3.", "a": "Six: <<2*3=6>>6, one more <<6+1=7>>7\n#### 7", "wrong": None},
        {"q": "", "a": ""},
    ]
    asked_for = {"dataset": DATASET, "question": "q", "answer": "a", "foil": "wrong", "limit": 2}
    found, _ = ask(rows, questions=asked_for)
    assert [asked.question.answer for asked in found] == ["7", "7"]
    assert [asked.question.foil for asked in found] == ["8", None]
    assert [asked.question.steps for asked in found] == [[], ["6"]]


@pytest.mark.parametrize(
    ("fields", "pointer", "words"),
    [
        ({"question": "text"}, "/questions/question", "no column 'text'"),
        ({"foil": "wrong"}, "/questions/foil", "no column 'wrong'"),
        ({"answer": "empty"}, "/questions/answer", "Row 1 has nothing in column 'empty'"),
        ({"foil": "answer"}, "/questions/foil", "Row 0: Answer and foil are the same"),
    ],
)
def test_a_dataset_that_does_not_do_is_refused(ask, fields, pointer, words):
    rows = [{"question": "3 + 4 =", "answer": "7", "empty": "x"}, {"question": "1 + 1 =", "answer": "2", "empty": ""}]
    with pytest.raises(InvalidRequest, match=words) as caught:
        ask(rows, questions={"dataset": DATASET, **fields})
    assert caught.value.errors[0].pointer == pointer
    if "column" in words and "no" in words.split():
        assert "'question', 'answer', 'empty'" in (caught.value.hint or "")


def test_an_empty_dataset_is_refused(ask):
    with pytest.raises(InvalidRequest, match="no rows"):
        ask([], questions={"dataset": DATASET})
