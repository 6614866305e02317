"""Notes on how prompts were read, each with the prompt in which nothing is wrong beside it."""

import pytest

from explaind.contract.blocks.subject import PromptRequest
from explaind_jobs.catalogue import DEMO
from explaind_worker.models.text.tokenizer import Encoder
from explaind_worker.notes.prompt import prompt_notes
from explaind_worker.session.prompt_record import PromptRecord
from tests.support.classifiers import word_pieces
from tests.worker.conftest import TEXT

SPACE = "ends in a space"


def notes_of(encoder: Encoder, *prompts: str, target: str | None = None, **request: object) -> list[str]:
    """The notes on prompts (or on messages), with a text that is scored after the first."""
    record = PromptRecord()
    given = [{"prompt": prompt} for prompt in prompts] or [request]
    for fields in given:
        encoded = encoder.prompt(PromptRequest.model_validate({"model": "m", **fields}))
        record.prompt(encoded, "/prompt")
        if target is not None:
            record.continuation(encoded, target, encoder.continuation(encoded, target), "/target")
    return prompt_notes(record, encoder)


@pytest.fixture(scope="module")
def encoder(tokenizer):
    return Encoder(tokenizer, 1000)


@pytest.fixture(scope="module")
def pieces():
    return word_pieces(TEXT)


@pytest.mark.parametrize(
    ("prompt", "target", "noted"),
    [
        ("The food was ", None, True),
        ("The food was ", "great", True),
        ("The food was ", " great", True),
        ("The food was  ", None, True),
        ("The food was ", "<mask>", False),  # a text that leaves the space as it is
        ("The food was", None, False),
        ("The food was:\n", None, False),
        ("The food was:\n", "great", False),
    ],
)
def test_a_space_at_the_end_counts_where_the_next_word_takes_it(encoder, prompt, target, noted):
    notes = notes_of(encoder, prompt, target=target)
    assert [SPACE in note for note in notes if "'<" not in note] == [True] * noted


def test_a_space_at_the_end_that_a_tokenizer_drops_is_not_noted(pieces):
    assert notes_of(Encoder(pieces, 1000), "The food was ") == []


def test_a_space_that_the_template_writes_is_not_noted_and_one_of_the_assistant_is(encoder):
    chat = [{"role": "user", "content": "The food was "}]
    assert notes_of(encoder, messages=chat) == []
    (note,) = notes_of(encoder, messages=[*chat, {"role": "assistant", "content": "great and "}])
    assert SPACE in note


def test_a_second_start_token_is_found_by_the_ids(encoder):
    (note,) = notes_of(encoder, "<s>The food was")
    assert note.startswith("The prompt begins with '<s>'")
    assert "twice" in note
    assert notes_of(encoder, "The food was") == []
    rendered = notes_of(encoder, "<s><|user|>The food<|assistant|>")
    assert ["twice" in note for note in rendered] == [True, False]
    assert "'<|user|>' and '<|assistant|>', read as special tokens" in rendered[1]
    assert "send `messages`" in rendered[1]
    assert notes_of(encoder, messages=[{"role": "user", "content": "The food"}]) == []


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (
            "a <mask> b </s> c </s>",
            "Message 2 (user) holds '<mask>' and '</s>', read as special tokens, not as plain text.",
        ),
        ("a </s> b", "Message 2 (user) holds '</s>', read as a special token, not as plain text."),
        (
            "a [SEP] b <|im_end|>",
            "Message 2 (user) holds '[SEP]' and '<|im_end|>', which are no special tokens of this model: read as plain "
            "text.",
        ),
        ("a < b > c [1] <b>", None),
    ],
)
def test_special_tokens_in_messages_are_told_from_plain_text(encoder, content, note):
    chat = [{"role": "assistant", "content": "The food"}, {"role": "user", "content": content}]
    assert notes_of(encoder, messages=chat) == ([] if note is None else [note])


def test_unknown_characters_are_no_special_tokens_that_were_typed(pieces):
    assert notes_of(Encoder(pieces, 1000), "The 猫 was") == []


def test_pairs_need_segment_ids(classifier):
    bert = classifier("bert").encoder
    notes = notes_of(bert, "The food [SEP] the room")
    assert ["read as a special token" in note for note in notes] == [True, False]
    assert "every token has segment 0" in notes[1]
    assert len(notes_of(bert, "The food [SEP]")) == 1, "there is no second sentence"
    assert notes_of(bert, "The food was ") == []
    distil = notes_of(classifier("distilbert").encoder, "The food [SEP] the room")
    assert len(distil) == 1, "a model without segment ids"


def test_many_prompts_make_one_note_of_a_kind(encoder):
    notes = notes_of(encoder, "The food ", "The room ", "The staff ", "The store")
    assert len(notes) == 1
    assert notes[0].endswith("So it is with 2 others.")


def test_nothing_of_the_prompt_but_a_short_piece_is_in_a_note(encoder):
    notes = notes_of(encoder, "<s>" + "secret " * 200 + "<mask> <|im_end|> ")
    assert len(notes) == 4
    assert sum(note.count("secret") for note in notes) == 0


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("infer/tokenize", {}),
        ("infer/generate", {"max_new_tokens": 1}),
        ("explain/attention", {"induction_probe": False}),
        ("explain/logit-lens", {}),
        ("explain/shap", {}),
    ],
)
def test_every_method_that_reads_a_prompt_notes_it(run, path, params):
    (note,) = run(path, entry=DEMO, prompt="Review: The food was ", **params).notes
    assert SPACE in note
    assert run(path, entry=DEMO, prompt="Review: The food was", **params).notes == []


def test_the_corrupted_prompt_is_named(run):
    params = {"prompt": "Review: The food was", "grids": ["resid_pre"], "layers": [0], "target": " great"}
    (note,) = run("explain/activation-patching", entry=DEMO, corrupted="Review: The<s> was", **params).notes
    assert note.startswith("The corrupted prompt holds '<s>'")
