import pytest
from pydantic import TypeAdapter, ValidationError

from explaind.contract.blocks.subject import Subject
from explaind.contract.errors import (
    ExplaindError,
    JobError,
    PromptTooLong,
    RequestError,
    classes_by_code,
    error_from,
    field_errors,
)

CLASSES = sorted(classes_by_code().items())


def subclasses(root):
    yield root
    for child in root.__subclasses__():
        yield from subclasses(child)


def test_codes_are_unique_and_every_class_has_words_of_its_own():
    every = list(subclasses(ExplaindError))
    assert len({cls.code for cls in every}) == len(every)
    assert all(cls.code.replace("_", "").isalnum() and cls.title for cls in every)


@pytest.mark.parametrize(("code", "cls"), CLASSES, ids=[code for code, _ in CLASSES])
def test_an_error_survives_the_way_as_a_problem(code, cls):
    sent = cls.at("/prompt", "Too long.", hint="Shorten it.")
    sent.request_id = "req_1"
    problem = type(sent.problem()).model_validate_json(sent.problem().model_dump_json())
    assert problem.type == f"urn:explaind:problem:{code}"
    got = error_from(problem, retry_after=2.0)
    assert type(got) is cls
    assert (got.detail, got.hint, got.request_id, got.retry_after) == (
        "Too long.",
        "Shorten it.",
        "req_1",
        2.0,
    )
    assert got.errors[0].pointer == "/prompt"


@pytest.mark.parametrize(("status", "family"), [(418, RequestError), (599, JobError)])
def test_a_code_of_the_future_becomes_its_family(status, family):
    problem = PromptTooLong("x").problem().model_copy(update={"code": "of_the_future", "status": status})
    assert type(error_from(problem)) is family


def test_text_says_what_where_and_what_to_do():
    assert str(PromptTooLong.at("/prompt", "Too long.", hint="Shorten it.")) == "/prompt: Too long. Shorten it."
    assert str(PromptTooLong("Too long.")) == "Too long."
    named = PromptTooLong("/prompt: Too long.", errors=PromptTooLong.at("/prompt", "Too long.").errors)
    assert str(named) == "/prompt: Too long.", "a field must not be said twice"


def pointers(model, value):
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(model).validate_python(value)
    return [e.pointer for e in field_errors(caught.value.errors())]


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"target": {"labels": ["a", "b"], "explain": "c"}}, ["/target/explain"]),
        ({"target": {"token_ids": [1, -1]}}, ["/target/token_ids/1"]),
        ({"target": {"txt": "a"}}, ["/target"]),
        ({"target": 5}, ["/target"]),
        ({"metadata": {"Big/Key~": 3}}, ["/metadata/Big~1Key~0"]),
        ({"foil": ""}, ["/foil"]),
        ({"score": "odds"}, ["/score"]),
        ({"nonsense": 1}, ["/nonsense"]),
        ({"messages": [{"role": "user", "content": ""}], "prompt": None}, ["/messages/0/content"]),
        ({"messages": [{"role": "user", "content": "x"}]}, ["/prompt"]),
    ],
)
def test_pointers_name_the_field_and_no_branch_of_a_union(extra, expected):
    assert pointers(Subject, {"model": "m", "prompt": "x", **extra}) == expected
