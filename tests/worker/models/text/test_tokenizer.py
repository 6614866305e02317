import pytest

from explaind.contract.blocks.subject import Message, PromptRequest, TokenIdsTarget
from explaind.contract.errors import InvalidRequest, InvalidTarget, NoChatTemplate
from explaind_worker.models.text.tokenizer import Encoder


@pytest.fixture
def encoder(tokenizer) -> Encoder:
    return Encoder(tokenizer, 128)


def asked(prompt: str) -> PromptRequest:
    return PromptRequest(model="m", prompt=prompt)


def test_spans_point_into_the_prompt_and_added_tokens_have_none(encoder):
    encoded = encoder.prompt(asked("The food was great"))
    assert encoded.spans[0] is None
    assert encoded.special[0]
    assert "".join(encoded.text[s:e] for s, e in encoded.spans[1:]) == "The food was great"


@pytest.mark.parametrize("prompt", ["a 😀 b", "naïve café", "日本 x", "👨‍👩‍👧!", "\n\nx\t y"])
def test_every_character_is_covered(encoder, prompt):
    encoded = encoder.prompt(asked(prompt))
    covered = {i for span in encoded.spans if span for i in range(*span)}
    assert covered == set(range(len(prompt)))


def test_continuation_is_tokenized_where_it_stands(encoder, tokenizer):
    encoded = encoder.prompt(asked("The food was"))
    ids = encoder.continuation(encoded, " great")
    assert tuple(tokenizer("The food was great").input_ids) == (*encoded.token_ids, *ids)


def test_continuation_that_would_change_the_prompt_stands_alone(encoder, tokenizer):
    encoded = encoder.prompt(asked("The food "))
    ids = encoder.continuation(encoded, "was great")
    assert tokenizer.decode(ids) == "was great"
    # Together the space would belong to " was", and the prompt's last token would be gone.
    assert tuple(tokenizer("The food was great").input_ids[: len(encoded)]) != encoded.token_ids


def test_token_ids_outside_the_vocabulary_are_refused_by_place(encoder):
    encoded = encoder.prompt(asked("x"))
    with pytest.raises(InvalidTarget) as caught:
        encoder.continuation(encoded, TokenIdsTarget(token_ids=[5, 99_999]))
    assert caught.value.errors[0].pointer == "/target/token_ids/1"


def test_texts_join_to_the_text_and_split_characters_appear_once(encoder):
    encoded = encoder.prompt(asked("The food was"))
    ids = encoder.continuation(encoded, " great 😀 really")
    texts = encoder.texts_of(ids, after=encoded.token_ids)
    assert len(texts) == len(ids)
    assert "".join(texts) == " great 😀 really"
    assert "\ufffd" not in "".join(texts)


def test_many_tokens_are_told_as_each_alone(encoder):
    after = encoder.prompt(PromptRequest(model="demo", prompt="three plus four is")).token_ids
    ids = list(range(len(encoder.tokenizer)))
    for context in (after, ()):
        assert encoder.each_text_of(ids, after=context) == [encoder.text_of([token], after=context) for token in ids]
    assert encoder.each_text_of([], after=after) == []


def test_chat_template_is_applied_once_and_contents_become_regions(encoder):
    messages = [Message(role="user", content="The food?"), Message(role="assistant", content="great"),
                Message(role="user", content="The food?")]  # fmt: skip
    encoded = encoder.prompt(PromptRequest(model="m", messages=messages))
    assert encoded.text == "<s><|user|>The food?<|assistant|>great<|user|>The food?<|assistant|>"
    assert [encoded.text[r.start : r.end] for r in encoded.regions] == ["The food?", "great", "The food?"]
    assert [r.role for r in encoded.regions] == ["user", "assistant", "user"]
    assert encoded.regions[0].start < encoded.regions[2].start
    assert encoded.token_ids.count(1) == 1, "the start token must not be added twice"


def test_messages_without_a_template_are_refused(tokenizer):
    template, tokenizer.chat_template = tokenizer.chat_template, None
    try:
        with pytest.raises(NoChatTemplate, match="no chat template"):
            Encoder(tokenizer, 128).prompt(PromptRequest(model="m", messages=[Message(role="user", content="x")]))
    finally:
        tokenizer.chat_template = template


def test_a_template_that_rewrites_the_text_is_refused(tokenizer):
    template, tokenizer.chat_template = tokenizer.chat_template, "{{ messages[0]['content'] | upper }}"
    try:
        with pytest.raises(InvalidRequest) as caught:
            Encoder(tokenizer, 128).prompt(PromptRequest(model="m", messages=[Message(role="user", content="abc")]))
        assert caught.value.errors[0].pointer == "/messages/0/content"
    finally:
        tokenizer.chat_template = template
