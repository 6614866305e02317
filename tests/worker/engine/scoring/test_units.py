import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explaind.contract.blocks.subject import Message, PromptRequest
from explaind.contract.blocks.units import Segments
from explaind.contract.errors import InvalidUnits
from explaind_worker.engine.scoring.units import sentences, units_of, words
from explaind_worker.models.text.tokenizer import Encoder


@pytest.fixture(scope="module")
def encode(tokenizer):
    encoder = Encoder(tokenizer, 10_000)
    return lambda prompt: encoder.prompt(PromptRequest(model="m", prompt=prompt))


def texts(unit_map) -> list[str]:
    return [u.text for u in unit_map.units]


def test_words_keep_contractions_numbers_and_joined_emoji_whole():
    text = "I don't pay 3.14 € for it... 👨‍👩‍👧 well-made!!! 日本"
    assert [text[s:e] for s, e in words(text)] == [
        "I", "don't", "pay", "3.14", "€", "for", "it", "...", "👨‍👩‍👧", "well", "-", "made", "!!!", "日", "本",
    ]  # fmt: skip


def test_sentences_know_abbreviations_and_line_breaks():
    text = "Mr. Smith 😀 came, e.g. today. He left!\nWhy?"
    assert [text[s:e] for s, e in sentences(text)] == ["Mr. Smith 😀 came, e.g. today.", "He left!", "Why?"]


def test_repeated_words_are_units_of_their_own(encode):
    units = units_of(encode("great food, great room"), "word").units
    assert [(u.text, u.start) for u in units if u.text == "great"] == [("great", 0), ("great", 12)]


def test_bytes_of_one_character_are_one_token_unit(encode):
    encoded = encode("a 😀")
    unit_map = units_of(encoded, "token")
    emoji = [i for i, u in enumerate(unit_map.units) if "😀" in u.text]
    assert len(emoji) == 1
    assert unit_map.unit_of_token.count(emoji[0]) > 1


def test_added_tokens_belong_to_no_unit(encode):
    for kind in ("token", "word", "sentence"):
        assert units_of(encode("The food"), kind).unit_of_token[0] is None


def test_words_that_share_a_token_are_one_unit(tokenizer, encode):
    # "it..." holds a token of several full stops; cut between them the words would share it.
    encoded = encode("it...really")
    unit_map = units_of(encoded, "word")
    for token, span in enumerate(encoded.spans):
        if span:
            unit = unit_map.units[unit_map.unit_of_token[token]]
            inked = [i for i in range(*span) if not encoded.text[i].isspace()]
            assert unit.start <= inked[0]
            assert inked[-1] < unit.end


@settings(max_examples=150, deadline=None)
@given(text=st.text(alphabet=st.sampled_from("ab. ,!'\n\té😀👍🏽日\u200d-3"), min_size=1, max_size=30),
       kind=st.sampled_from(["token", "word", "sentence"]))  # fmt: skip
def test_any_text_is_cut_cleanly(encode, text, kind):
    encoded = encode(text)
    if not text.strip() and kind != "token":
        with pytest.raises(InvalidUnits):
            units_of(encoded, kind)
        return
    unit_map = units_of(encoded, kind)
    ends = 0
    for unit in unit_map.units:
        assert text[unit.start : unit.end] == unit.text
        assert unit.start >= ends, "units must not overlap"
        assert unit.text
        ends = unit.end
    owned = {u for u in unit_map.unit_of_token if u is not None}
    assert owned == set(range(len(unit_map.units))), "every unit must have a token of its own"
    assert all(u is not None for u in unit_map.unit_of_token[1:]), "every token of the text must have a unit"


def test_segments_leave_the_rest_always_present(encode):
    encoded = encode("The food was great but the room was small")
    unit_map = units_of(encoded, Segments(segments=[(0, 18, "praise"), (23, 41)]))
    assert texts(unit_map) == ["The food was great", "the room was small"]
    assert unit_map.units[0].name == "praise"
    held = [encoded.spans[i] for i, unit in enumerate(unit_map.unit_of_token) if unit is None]
    assert "".join(encoded.text[s:e] for s, e in filter(None, held)) == " but"


def test_segments_that_share_a_token_are_refused(encode):
    with pytest.raises(InvalidUnits, match="share the token") as caught:
        units_of(encode("The food was great"), Segments(segments=[(0, 15), (15, 18)]))
    assert caught.value.errors[0].pointer == "/units/segments/1"


def test_segments_out_of_range_are_refused(encode):
    with pytest.raises(InvalidUnits, match="past the 3 characters"):
        units_of(encode("abc"), Segments(segments=[(0, 4)]))


def test_a_segment_of_mere_space_is_refused(encode):
    with pytest.raises(InvalidUnits, match="No token lies in") as caught:
        units_of(encode("The food"), Segments(segments=[(0, 3), (3, 4)]))
    assert caught.value.errors[0].pointer == "/units/segments/1"


def test_template_text_is_no_unit_and_roles_are_kept(tokenizer):
    encoder = Encoder(tokenizer, 100)
    messages = [Message(role="user", content="The food?"), Message(role="assistant", content="great")]
    encoded = encoder.prompt(PromptRequest(model="m", messages=messages))
    for kind in ("token", "word", "sentence"):
        unit_map = units_of(encoded, kind)
        assert {u.role for u in unit_map.units} == {"user", "assistant"}
        held = [encoded.token_ids[i] for i, u in enumerate(unit_map.unit_of_token) if u is None]
        assert tokenizer.decode(held) == "<s><|user|><|assistant|>"


def test_a_special_token_in_the_prompt_is_flagged(encode):
    unit_map = units_of(encode("The food</s> was"), "token")
    assert [u.text for u in unit_map.units if u.special] == ["</s>"]
