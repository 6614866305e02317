"""Which units make up larger ones, against cuts of the same prompt by those."""

from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explaind.contract.blocks.subject import Message, PromptRequest
from explaind.contract.blocks.units import Segments
from explaind_worker.engine.scoring.unit_groups import coarser_groups
from explaind_worker.engine.scoring.units import units_of
from explaind_worker.models.text.tokenizer import Encoder

TEXT = "I don't like it... really! The naïve 👨‍👩‍👧 café, 3.14 €.\nMr. Smith came. It was great"


@pytest.fixture(scope="module")
def encode(tokenizer):
    encoder = Encoder(tokenizer, 10_000)
    return lambda prompt: encoder.prompt(PromptRequest(model="m", prompt=prompt))


def held_by(encoded, fine, coarse):
    """For each unit of `coarse` the units of `fine` that have its tokens."""
    held = [set() for _ in coarse.units]
    for inner, outer in zip(fine.unit_of_token, coarse.unit_of_token, strict=True):
        if outer is not None:
            held[outer].add(inner)
    return [sorted(members) for members in held]


def test_words_hold_whole_tokens_and_are_those_of_a_cut_by_words(encode):
    encoded = encode(TEXT)
    tokens, words = units_of(encoded, "token"), units_of(encoded, "word")
    groups = coarser_groups(encoded, "token", tokens)
    assert groups["word"] == held_by(encoded, tokens, words)
    assert any(len(group) > 1 for group in groups["word"])
    sentences = units_of(encoded, "sentence")
    assert groups["sentence"] == held_by(encoded, tokens, sentences)
    assert coarser_groups(encoded, "word", words) == {"sentence": held_by(encoded, words, sentences)}


@settings(max_examples=150, deadline=None)
@given(text=st.text(alphabet=st.sampled_from("ab. ,!'\n\té😀👍🏽日。\u200d-3"), min_size=1, max_size=30),
       kind=st.sampled_from(["token", "word"]))  # fmt: skip
def test_groups_of_any_text_are_nested_partitions(encode, text, kind):
    encoded = encode(text)
    if not text.strip():
        assert coarser_groups(encoded, "token", units_of(encoded, "token")) == {}
        return
    fine = units_of(encoded, kind)
    groups = coarser_groups(encoded, kind, fine)
    for members in groups.values():
        assert sorted(chain.from_iterable(members)) == list(range(len(fine)))
        assert members == sorted(members)
    # Whole units only: all tokens of a unit are in one larger unit.
    for coarse in groups:
        outer = units_of(encoded, coarse).unit_of_token
        for unit in range(len(fine)):
            homes = {outer[t] for t, owner in enumerate(fine.unit_of_token) if owner == unit} - {None}
            assert len(homes) <= 1 or coarse == "sentence"
    if kind == "token":
        for word in groups["word"]:
            assert any(set(word) <= set(sentence) for sentence in groups["sentence"])
        words = units_of(encoded, "word")
        by_words = coarser_groups(encoded, "word", words)["sentence"]
        tokens = [list(chain.from_iterable(groups["word"][word] for word in sentence)) for sentence in by_words]
        assert tokens == groups["sentence"]


def test_sentences_that_share_a_word_are_one(encode):
    encoded = encode("日本。語a.b")
    groups = coarser_groups(encoded, "token", units_of(encoded, "token"))
    assert all(any(set(word) <= set(sentence) for sentence in groups["sentence"]) for word in groups["word"])


def test_messages_share_no_group_and_space_alone_is_its_own(tokenizer):
    contents = ["The food?", " \n ", "The food?", "great. Really!"]
    request = PromptRequest(model="m", messages=[Message(role="user", content=text) for text in contents])
    encoded = Encoder(tokenizer, 1000).prompt(request)
    tokens = units_of(encoded, "token")
    groups = coarser_groups(encoded, "token", tokens)
    for kind in ("word", "sentence"):
        assert sorted(chain.from_iterable(groups[kind])) == list(range(len(tokens)))
        for group in groups[kind]:
            assert len({tokens.units[member].message for member in group}) == 1


def test_segments_have_no_groups(encode):
    choice = Segments(segments=[(0, 7)])
    encoded = encode(TEXT)
    assert coarser_groups(encoded, choice, units_of(encoded, choice)) == {}


def test_a_segment_is_of_the_message_it_lies_in(tokenizer):
    messages = [Message(role="user", content="The food"), Message(role="assistant", content="was great")]
    encoded = Encoder(tokenizer, 1000).prompt(PromptRequest(model="m", messages=messages))
    start = encoded.text.index("food")
    great = encoded.text.index(" great")
    within = units_of(encoded, Segments(segments=[(start - 1, start + 4), (great, great + 6)]))
    assert [(unit.role, unit.message) for unit in within.units] == [("user", 0), ("assistant", 1)]
    across = units_of(encoded, Segments(segments=[(start - 1, great)]))
    assert [(unit.role, unit.message) for unit in across.units] == [(None, None)]
