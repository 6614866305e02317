import math

import pytest
from pydantic import ValidationError

from explaind.contract.base import RequestModel
from explaind.contract.blocks.attribution import PerturbationRequest
from explaind.contract.blocks.subject import MAX_TARGET_CHARS, ClassTarget, LabelsTarget, Subject, TextTarget
from explaind.contract.blocks.units import ReplacementText, Segments
from explaind.contract.errors import field_errors
from explaind.contract.methods.explain.shap import ShapParams
from explaind.contract.methods.infer.score import ScoreParams


def refused(model, /, **fields):
    with pytest.raises(ValidationError) as caught:
        model.model_validate({"model": "m", "prompt": "some words", **fields})
    return [(e.pointer, e.detail) for e in field_errors(caught.value.errors())]


def test_a_string_is_short_for_a_text_target():
    assert Subject(model="m", prompt="x", target=" y").target == TextTarget(text=" y")
    assert Subject(model="m", prompt="x", foil=" y").foil == TextTarget(text=" y")


def test_a_request_survives_json():
    asked = ShapParams(
        model="m", prompt="some words", target={"labels": ["a", "b"], "explain": "b"},
        units={"segments": [[0, 4, "name"], [5, 10]]}, baseline={"text": " x"}, metadata={"run": "1"},
    )  # fmt: skip
    again = ShapParams.model_validate_json(asked.model_dump_json())
    assert again == asked
    assert isinstance(again.target, LabelsTarget)
    assert isinstance(again.units, Segments)
    assert isinstance(again.baseline, ReplacementText)


def test_a_class_survives_json_under_its_own_name():
    asked = Subject.model_validate({"model": "m", "prompt": "x", "target": {"class": "A"}, "foil": {"class": 1}})
    assert isinstance(asked.target, ClassTarget)
    assert (asked.target.class_, asked.foil.class_) == ("A", 1)
    assert Subject.model_validate_json(asked.model_dump_json()) == asked
    assert b'"target":{"class":"A"},"foil":{"class":1}' in asked.cache_fields()
    assert ClassTarget(class_="A") == asked.target


@pytest.mark.parametrize(
    ("value", "words"), [(True, "integer"), (-1, "greater than"), ("", "at least 1"), (None, "string"), (1.5, "string")]
)
def test_a_class_is_a_name_or_an_index(value, words):
    ((pointer, detail),) = refused(Subject, target={"class": value})
    assert pointer == "/target/class"
    assert words in detail


@pytest.mark.parametrize(
    "prompts", [{}, {"prompt": None}, {"prompt": "x", "messages": [{"role": "user", "content": "x"}]}]
)
def test_exactly_one_of_prompt_and_messages(prompts):
    with pytest.raises(ValidationError, match="exactly one"):
        Subject.model_validate({"model": "m", **prompts})


def test_empty_prompt_is_refused():
    assert refused(Subject, prompt="") == [("/prompt", "String should have at least 1 character")]


@pytest.mark.parametrize(
    ("segments", "pointer", "words"),
    [
        ([[0, 99]], "/units/segments/0", "past the prompt's 10 characters"),
        ([[0, 5], [4, 8]], "/units/segments/1", "overlaps segment 0"),
        ([[4, 8], [0, 5]], "/units/segments/0", "overlaps segment 1"),
        ([[3, 3]], "/units/segments/0", "empty"),
        ([[-1, 3]], "/units/segments/0/0", "greater than or equal to 0"),
        ([], "/units/segments", "at least 1 item"),
    ],
)
def test_segments_are_checked_with_their_place(segments, pointer, words):
    found = refused(PerturbationRequest, units={"segments": segments})
    assert found[0][0] == pointer
    assert words in found[0][1]


@pytest.mark.parametrize(
    ("field", "value"),
    [("budget", float("nan")), ("budget", 3), ("budget", 10**9), ("seed", -1), ("seed", 1.5), ("algorithm", "best"),
     ("model", "../etc/passwd"), ("model", "x\n"), ("target", []), ("units", "letters"), ("baseline", "zero"),
     ("metadata", {f"k{i}": "v" for i in range(17)}), ("prompt", 7), ("prompt", "x" * 200_001)],
)  # fmt: skip
def test_bounds_and_types_hold(field, value):
    assert refused(ShapParams, **{field: value})[0][0].startswith(f"/{field}")


def test_labels_must_differ_and_hold_the_explained_one():
    assert refused(Subject, target={"labels": ["a", "a"], "explain": "a"})[0][0] == "/target/labels"
    assert refused(Subject, target={"labels": ["a", "b"], "explain": "c"})[0][0] == "/target/explain"
    assert refused(Subject, target={"labels": ["a", "b"], "explain": "a"}, foil="b")[0][0] == "/foil"


@pytest.mark.parametrize(
    ("target", "pointer", "words"),
    [
        ({"text": " yes", "span": [0, 5]}, "/target/span", "past the text's 4 characters"),
        ({"text": " yes", "span": [2, 2]}, "/target/span", "empty"),
        ({"text": " yes", "span": [3, 1]}, "/target/span", "empty"),
        ({"text": " yes", "span": [-1, 2]}, "/target/span/0", "greater than or equal to 0"),
        ({"text": " yes", "span_text": "no"}, "/target/span_text", "does not hold 'no'"),
        ({"text": " yes", "span_text": ""}, "/target/span_text", "at least 1 character"),
        ({"text": " yes", "span": [0, 1], "span_text": "y"}, "/target/span_text", "Give one of"),
        ({"token_ids": [1, 2], "span": [1, 3]}, "/target/span", "past the 2 tokens"),
        ({"token_ids": [1, 2], "span_text": "x"}, "/target/span_text", "Extra inputs"),
        ({"generate": {}, "span": [0, 1], "span_text": "y"}, "/target/span_text", "Give one of"),
        ({"labels": ["a", "b"], "explain": "a", "span": [0, 1]}, "/target/span", "Extra inputs"),
        ({"labels": ["a", "b"], "explain": "a", "by": "last_token"}, "/target/by", "whole"),
    ],
)
def test_spans_and_labels_are_checked_with_their_place(target, pointer, words):
    found = refused(Subject, target=target)
    assert found[0][0] == pointer
    assert words in found[0][1]


def test_a_foil_may_have_a_span_of_its_own():
    foil = {"text": "It is off", "span_text": "off"}
    asked = Subject(model="m", prompt="x", target={"text": "It is on", "span": [6, 8]}, foil=foil)
    assert Subject.model_validate_json(asked.model_dump_json()) == asked


def test_a_score_is_of_the_whole_target():
    assert refused(ScoreParams, target={"text": " yes", "span": [0, 1]})[0][0] == "/target/span"
    assert refused(ScoreParams, target={"token_ids": [1], "span": [0, 1]})[0][0] == "/target/span"
    assert refused(ScoreParams, target={"text": " yes", "span_text": "y"})[0][0] == "/target/span_text"


def test_segments_may_touch_one_another():
    assert Segments(segments=[(4, 8), (0, 4)]).segments == [(4, 8), (0, 4)]
    with pytest.raises(ValidationError, match="overlaps segment 1"):
        Segments(segments=[(3, 8), (0, 4)])


@pytest.mark.parametrize("field", ["target", "foil"])
def test_a_continuation_is_bounded(field):
    assert Subject.model_validate({"model": "m", "prompt": "x", field: "y" * MAX_TARGET_CHARS})
    for value in ("y" * (MAX_TARGET_CHARS + 1), {"text": "y" * (MAX_TARGET_CHARS + 1)}, ""):
        [(pointer, _)] = refused(Subject, **{field: value})
        assert pointer.startswith(f"/{field}")


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_no_request_holds_a_number_that_is_not_finite(number):
    class Numbered(RequestModel):
        number: float

    with pytest.raises(ValidationError, match="finite"):
        Numbered(number=number)
