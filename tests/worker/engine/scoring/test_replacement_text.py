"""A text in the place of units has the spaces of the text that it replaces."""

import numpy as np
import pytest

from explaind.contract.blocks.subject import PromptRequest
from explaind.contract.blocks.units import ReplacementText, Segments
from explaind_worker.engine.scoring.masker import Masker, replacement_for
from explaind_worker.engine.scoring.units import units_of
from explaind_worker.models.text.tokenizer import Encoder


def text_without(encoder, units, absent, *, text="something", **request):
    """The prompt's text with some units absent (all: None), as the tokens of the row read; and the replacement."""
    encoded = encoder.prompt(PromptRequest.model_validate({"model": "m", **request}))
    unit_map = units_of(encoded, units)
    replacement = replacement_for(ReplacementText(text=text), encoder, encoded, unit_map)
    present = np.array([[absent is not None and unit not in absent for unit in range(len(unit_map))]])
    row = next(iter(Masker(encoded, unit_map, replacement).rows(present)))
    return encoder.tokenizer.decode(row, skip_special_tokens=True), replacement


@pytest.fixture(scope="module")
def encoder(tokenizer):
    return Encoder(tokenizer, 1000)


@pytest.mark.parametrize("text", ["something", " something", "something "])
@pytest.mark.parametrize(
    ("prompt", "units", "absent", "expected"),
    [
        ("The little girl", "word", [2], "The little something"),
        ("The little girl", "word", [0], "something little girl"),
        ("The little girl", "word", None, "something something something"),
        ("He ran. She (Mary) sat.", "sentence", [1], "He ran. something"),
        ("He ran. She (Mary) sat.", "sentence", [0], "something She (Mary) sat."),
        ("She (Mary) sat.", "word", [2], "She (something) sat."),
        ("She sat, and", "word", [2], "She sat something and"),
        ("She sat(and", "word", [2], "She sat something and"),
        ("She sat.\n\nMary", "word", [3], "She sat.\n\nsomething"),
        ("The little girl", Segments(segments=[(4, 15)]), [0], "The something"),
    ],
)
def test_spaces_are_those_of_the_text_around(encoder, prompt, units, absent, expected, text):
    assert text_without(encoder, units, absent, prompt=prompt, text=text)[0] == expected


def test_a_part_of_a_word_and_scripts_without_spaces_stay_as_given(encoder):
    found = {text: text_without(encoder, "word", [1], prompt="猫が好き", text=text)[0] for text in ("物", " 物")}
    assert found == {"物": "猫物好き", " 物": "猫 物好き"}
    assert text_without(encoder, "word", [3], prompt="猫が。犬", text="物")[0] == "猫が。物"
    first = encoder.prompt(PromptRequest(model="m", prompt="zebra")).spans
    assert len([span for span in first if span]) > 1
    text, _ = text_without(encoder, "token", [1], prompt="zebra", text="X")
    assert " " not in text


def test_messages_keep_their_turns(encoder):
    chat = [{"role": "user", "content": "The little girl"}, {"role": "assistant", "content": "Mary and John"}]
    text, replacement = text_without(encoder, "word", [0, 4], messages=chat)
    assert text.replace("<|user|>", "").replace("<|assistant|>", "|").endswith("Mary something John")
    assert "somethinglittle" not in text
    assert [(placed.text, placed.units) for placed in replacement.placed] == [
        ("something", [0, 3]),
        (" something", [1, 2, 4, 5]),
    ]


def test_the_result_says_what_was_put_in_and_keeps_it_when_regrouped(run, tiny_model):
    """Dense and as a tree of prefixes alike, and by every library's estimator: all play the same game."""
    asked = {"prompt": "The food was great", "target": " but", "units": "token", "baseline": {"text": "small"}}
    result = run("explain/feature-ablation", entry=tiny_model("gpt2"), **asked)
    placed = {unit: placed.text for placed in result.baseline.placed for unit in placed.units}
    assert len(placed) == len(result.units)
    assert placed[0] == "small"
    great = next(i for i, unit in enumerate(result.units) if result.prompt[: unit.start].endswith("was "))
    assert placed[great] == " small"
    assert result.baseline.text == "small"
    assert list(result.baseline.placed[1].token_ids) != list(result.baseline.placed[0].token_ids)
    by_word = result.regrouped("word")
    assert [placed.text for placed in by_word.baseline.placed] == [placed.text for placed in result.baseline.placed]
    assert {unit for placed in by_word.baseline.placed for unit in placed.units} == set()
