"""Results by larger units: totals stay, steps compose, what cannot be added up is dropped."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explaind.contract.blocks.attribution_result import Attribution, Replacement, ScoredText, ScoredToken
from explaind.contract.blocks.regrouping import kinds_of, shares_of_messages
from explaind.contract.blocks.units import Unit
from explaind.contract.errors import InvalidUnits

PROMPT = "Don't go there. Go home!"
PIECES = ["Don", "'t", " go", " there", ".", " Go", " home", "!"]
WORDS = [[0, 1], [2], [3], [4], [5], [6], [7]]
SENTENCES = [[0, 1, 2, 3, 4], [5, 6, 7]]


def units_of(pieces: list[str], **fields: Any) -> list[Unit]:
    ends = [sum(map(len, pieces[: i + 1])) for i in range(len(pieces))]
    made = []
    for piece, end in zip(pieces, ends, strict=True):
        text = piece.strip() or piece
        made.append(Unit(text=text, start=end - len(text), end=end, **fields))
    return made


def attribution(values: list[float], units: list[Unit], groups: dict[str, Any], **fields: Any) -> Attribution:
    made: dict[str, Any] = {
        "prompt": PROMPT,
        "units": units,
        "values": values,
        "values_by_target": [[value * 0.25, value * 0.75] for value in values],
        "standard_errors": [0.1] * len(values),
        "base_value": -3.0,
        "full_value": -3.0 + math.fsum(values),
        "completeness_gap": 0.0,
        "score": "logprob",
        "target": ScoredText(text=" yes", tokens=[ScoredToken(text=" yes", id=7, logprob=-0.25)]),
        "baseline": Replacement(choice="mask"),
        "algorithm": "kernel",
        "evaluations": 32,
        "unit_kind": "token",
        "groups": groups,
    }
    return Attribution(**{**made, **fields})


def by_tokens(**fields: Any) -> Attribution:
    values = [1.0, -0.5, 0.25, 2.0, 0.125, -1.0, 4.0, 0.0625]
    groups = fields.pop("groups", {"word": WORDS, "sentence": SENTENCES})
    return attribution(values, units_of(PIECES), groups, **fields)


def test_words_hold_their_tokens():
    result = by_tokens().regrouped("word")
    assert [unit.text for unit in result.units] == ["Don't", "go", "there", ".", "Go", "home", "!"]
    assert all(PROMPT[unit.start : unit.end] == unit.text for unit in result.units)
    assert result.values == [0.5, 0.25, 2.0, 0.125, -1.0, 4.0, 0.0625]
    assert result.values_by_target[0] == [0.125, 0.375]
    assert (result.unit_kind, result.summed_from) == ("word", "token")
    assert result.groups == {"sentence": [[0, 1, 2, 3], [4, 5, 6]]}


def test_steps_compose():
    steps, leap = by_tokens().regrouped("word").regrouped("sentence"), by_tokens().regrouped("sentence")
    assert steps == leap
    assert [unit.text for unit in leap.units] == ["Don't go there.", "Go home!"]
    assert (leap.summed_from, leap.groups) == ("token", {})


def test_what_does_not_add_up_is_dropped_and_what_is_of_the_whole_is_kept():
    class Later(Attribution):
        """A result of a method that says more of single units."""

        of_units: list[list[float]] | None = None

    later = Later(**by_tokens().model_dump(), of_units=[[0.0]])
    result = later.regrouped("word")
    assert isinstance(result, Later)
    assert (result.standard_errors, result.of_units) == (None, None)
    for name in ("prompt", "base_value", "full_value", "completeness_gap", "target", "algorithm", "evaluations"):
        assert getattr(result, name) == getattr(later, name)
    assert later.of_units == [[0.0]], "the result itself stays as it was"


def test_its_own_units_are_itself():
    result = by_tokens()
    assert result.regrouped("token") is result
    assert kinds_of(result) == ["token", "word", "sentence"]


@pytest.mark.parametrize(
    ("fields", "kind", "words"),
    [
        ({"unit_kind": "word", "groups": {}}, "token", "cannot be parted into tokens"),
        ({"unit_kind": "word", "groups": {}}, "sentence", "does not hold which words"),
        ({"unit_kind": "segments", "groups": {}}, "word", "segments"),
        ({"unit_kind": None, "groups": {}}, "word", "does not say what its units are"),
        ({"groups": {"word": [[0, 1]]}}, "word", "does not hold which tokens"),
        ({"groups": {"word": [*WORDS[:-1], [7, 7]]}}, "word", "does not hold which tokens"),
        ({"groups": {"word": [*WORDS, []]}}, "word", "does not hold which tokens"),
    ],
)
def test_units_that_are_not_held_are_refused(fields, kind, words):
    with pytest.raises(InvalidUnits, match=words) as caught:
        by_tokens(**fields).regrouped(kind)
    assert caught.value.errors[0].pointer == "/units"
    assert caught.value.hint


def test_a_chat_by_message_and_role():
    units = [*units_of(["Be kind."], role="system", message=0), *units_of(PIECES[:3], role="user", message=1)]
    units += [Unit(text="x", start=0, end=1, role="user", message=3), Unit(text="y", start=0, end=1)]
    values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    shares = shares_of_messages(units, values, ["system", "user", "assistant", "user"])
    assert [(share.role, share.value, share.units) for share in shares] == [
        ("system", 1.0, [0]), ("user", 9.0, [1, 2, 3]), ("assistant", 0.0, []), ("user", 5.0, [4]),
    ]  # fmt: skip
    result = attribution(
        values, units, {"word": [[0], [1, 2], [3], [4], [5]]}, by_message=shares, by_role={"system": 1.0}
    ).regrouped("word")
    assert [(share.index, share.value, share.units) for share in result.by_message or []] == [
        (0, 1.0, [0]), (1, 9.0, [1, 2]), (2, 0.0, []), (3, 5.0, [3]),
    ]  # fmt: skip
    assert result.by_role == {"system": 1.0, "user": 14.0, "assistant": 0.0}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_regrouping_keeps_the_total_and_composes(data):
    sizes = data.draw(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=4), min_size=1, max_size=4))
    words, sentences, at = [], [], 0
    for sentence in sizes:
        begin = at
        for size in sentence:
            words.append(list(range(at, at + size)))
            at += size
        sentences.append(list(range(begin, at)))
    values = data.draw(st.lists(st.floats(-1e3, 1e3), min_size=at, max_size=at))
    result = attribution(values, units_of(["ab"] * at), {"word": words, "sentence": sentences}, prompt="ab" * at)
    for kind in ("word", "sentence"):
        shown = result.regrouped(kind)
        assert math.fsum(shown.values) == pytest.approx(math.fsum(values), abs=1e-9)
        rows = zip(shown.values, shown.values_by_target, strict=True)
        assert all(math.fsum(row) == pytest.approx(value, abs=1e-9) for value, row in rows)
        assert "".join(unit.text for unit in shown.units) == result.prompt
    leap, steps = result.regrouped("sentence"), result.regrouped("word").regrouped("sentence")
    assert steps.units == leap.units
    assert steps.values == pytest.approx(leap.values, abs=1e-9)
