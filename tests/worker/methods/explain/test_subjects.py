"""What may be explained: spans of the output, labels by their first tokens, chats; against plain forwards."""

import math

import numpy as np
import pytest

from explaind.contract.blocks.subject import PromptRequest
from explaind.contract.errors import InvalidTarget
from explaind_worker.engine.scoring.masker import Masker, replacement_for
from explaind_worker.engine.scoring.score_query import tokens_of_characters
from explaind_worker.engine.scoring.units import units_of
from tests.support.reference import token_logits, token_logprobs

PROMPT = "Once upon a time Mary gave"
TARGET = " a drink to John"
FOIL = " the store to Mary"


def rows_of(model, prompt=PROMPT, units="word"):
    """Token rows of the prompt: whole, and without each unit."""
    encoded = model.encoder.prompt(PromptRequest(model="m", prompt=prompt))
    unit_map = units_of(encoded, units)
    players = Masker(encoded, unit_map, replacement_for("mask", model.encoder, encoded, unit_map))
    coalitions = np.concatenate([np.ones((1, len(unit_map)), dtype=bool), ~np.eye(len(unit_map), dtype=bool)])
    return list(players.rows(coalitions))


def ids_of(model, text, prompt=PROMPT):
    return model.encoder.continuation(model.encoder.prompt(PromptRequest(model="m", prompt=prompt)), text)


def texts_of(model, ids, prompt=PROMPT):
    return model.encoder.texts_of(ids, after=model.encoder.prompt(PromptRequest(model="m", prompt=prompt)).token_ids)


def drops(rows, of):
    """By leave-one-out: unit × token, from a function of a row that scores tokens."""
    full, *without = (np.array(of(row)) for row in rows)
    return np.stack([full - each for each in without])


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
@pytest.mark.parametrize(
    ("target", "words"),
    [
        ({"text": TARGET, "span_text": "drink"}, "drink"),
        ({"text": TARGET, "span": [TARGET.index("drink"), TARGET.index("drink") + 5]}, "drink"),
        ({"text": TARGET, "span_text": "John"}, "John"),
        ({"text": TARGET, "span_text": " a"}, " a"),
    ],
)
def test_a_span_is_the_brute_force_difference_of_its_tokens(loaded, run, tiny_model, family, target, words):
    model = loaded(family)
    ids, rows = ids_of(model, TARGET), rows_of(model)
    texts, start = texts_of(model, ids), TARGET.index(words)
    ends = np.cumsum([len(text) for text in texts])
    inside = [i for i, text in enumerate(texts) if ends[i] > start and ends[i] - len(text) < start + len(words)]
    # The whole continuation in every forward: what comes after the span must not matter.
    expected = drops(rows, lambda row: [token_logprobs(model, row, ids)[i] for i in inside])
    result = run("explain/feature-ablation", entry=tiny_model(family), prompt=PROMPT, target=target)
    np.testing.assert_allclose(result.values_by_target, expected, atol=2e-4)
    np.testing.assert_allclose(result.values, expected.sum(axis=1), atol=2e-4)
    assert result.full_value == pytest.approx(sum(token_logprobs(model, rows[0], ids)[i] for i in inside), abs=2e-4)
    assert result.target.text == TARGET
    assert [token.id for token in result.target.tokens] == list(ids)
    assert list(range(*result.target.explained)) == inside
    scored = [token.logprob is not None for token in result.target.tokens]
    assert scored == [i <= inside[-1] for i in range(len(ids))], "later tokens are not evaluated"
    assert result.target.logprob == pytest.approx(result.full_value, abs=1e-4)


@pytest.mark.parametrize("score", ["logprob", "logit", "prob"])
def test_target_and_foil_with_spans_of_token_ids(loaded, run, score):
    model = loaded("llama")
    target, foil, rows = ids_of(model, TARGET), ids_of(model, FOIL), rows_of(model)
    of = token_logits if score == "logit" else token_logprobs

    def columns(row):
        found = np.concatenate([np.array(of(model, row, target)[1:3]), np.array(of(model, row, foil)[2:3])])
        return (np.exp(found) if score == "prob" else found) * [1, 1, -1]

    result = run(
        "explain/feature-ablation",
        prompt=PROMPT,
        target={"token_ids": target, "span": [1, 3]},
        foil={"token_ids": foil, "span": [2, 3]},
        score=score,
    )
    np.testing.assert_allclose(result.values_by_target, drops(rows, columns), atol=2e-4)
    assert (result.target.explained, result.foil.explained) == ((1, 3), (2, 3))


def test_a_span_of_everything_is_the_whole(run):
    whole = run("explain/feature-ablation", prompt=PROMPT, target=TARGET)
    span = run("explain/feature-ablation", prompt=PROMPT, target={"text": TARGET, "span_text": TARGET})
    assert span == whole
    assert whole.target.explained is None


def test_a_span_of_what_the_model_says(loaded, run):
    model = loaded("llama")
    said = run("infer/generate", prompt=PROMPT, max_new_tokens=6)
    texts = [token.text for token in said.tokens]
    third = sum(map(len, texts[:2]))
    target = {"generate": {"max_new_tokens": 6}, "span": [third, third + len(texts[2])]}
    result = run("explain/feature-ablation", prompt=PROMPT, target=target)
    assert result.target.text == said.text
    start, end = result.target.explained
    assert start <= 2 < end
    ids = tuple(token.id for token in result.target.tokens)
    expected = drops(rows_of(model), lambda row: token_logprobs(model, row, ids)[start:end])
    np.testing.assert_allclose(result.values_by_target, expected, atol=2e-4)
    for wrong, field in (({"span": [0, len(said.text) + 1]}, "span"), ({"span_text": "§ not said §"}, "span_text")):
        with pytest.raises(InvalidTarget, match="does not hold the span") as caught:
            run("explain/feature-ablation", prompt=PROMPT, target={"generate": {"max_new_tokens": 6}, **wrong})
        assert caught.value.errors[0].pointer == f"/target/{field}"


def test_spans_of_the_same_tokens_after_the_same_tokens_have_no_difference(run):
    with pytest.raises(InvalidTarget, match="same tokens"):
        run(
            "explain/feature-ablation",
            prompt=PROMPT,
            target={"text": " a drink to John", "span_text": "drink"},
            foil={"text": " a drink to Mary", "span_text": "drink"},
        )


@pytest.mark.parametrize(
    ("texts", "start", "end", "expected"),
    [
        ([" a", " b", "c"], 0, 1, (0, 1)),
        ([" a", " b", "c"], 1, 3, (0, 2)),
        ([" a", " b", "c"], 2, 4, (1, 2)),
        ([" a", " b", "c"], 4, 5, (2, 3)),
        ([" a", "", "", " 😀", "b"], 3, 4, (1, 4)),
        (["", "é", "b"], 0, 1, (0, 2)),
        ([" a", "", "é", "", "è"], 1, 2, (0, 1)),
        ([" a", "", "é", "", "è"], 3, 4, (3, 5)),
    ],
)
def test_tokens_of_characters(texts, start, end, expected):
    assert tokens_of_characters(texts, start, end) == expected


@pytest.mark.parametrize("score", ["logprob", "prob", "logit"])
@pytest.mark.parametrize("by", ["whole", "first_token"])
def test_labels_by_their_first_tokens_or_whole(loaded, run, score, by):
    model = loaded("llama")
    labels = [" great food", " small room", " the staff"]
    ids = [ids_of(model, label) for label in labels]
    assert all(len(each) > 1 for each in ids)

    def value(row):
        scored = [token_logprobs(model, row, each) for each in ids]
        whole = np.array([each[0] if by == "first_token" else sum(each) for each in scored])
        share = whole[1] - np.logaddexp.reduce(whole)
        return [{"logprob": share, "prob": np.exp(share), "logit": share - np.log1p(-np.exp(share))}[score]]

    target = {"labels": labels, "explain": labels[1], "by": by}
    result = run("explain/feature-ablation", prompt=PROMPT, target=target, score=score)
    np.testing.assert_allclose(result.values_by_target, drops(rows_of(model), value), atol=2e-4)
    assert [label.text for label in result.labels] == labels
    for label, own in zip(result.labels, ids, strict=True):
        assert [token.id for token in label.tokens] == list(own)
        assert label.explained == ((0, 1) if by == "first_token" else None)
        unscored = [by == "first_token" and i > 0 for i in range(len(own))]
        assert [token.logprob is None for token in label.tokens] == unscored
    assert result.target == result.labels[1]


def test_labels_that_begin_alike_are_named(run):
    target = {"labels": [" great food", " small", " great room"], "explain": " small", "by": "first_token"}
    with pytest.raises(InvalidTarget, match="' great food', ' great room' begin with the same token") as caught:
        run("explain/feature-ablation", prompt=PROMPT, target=target)
    assert caught.value.errors[0].pointer == "/target/labels"
    assert run("explain/feature-ablation", prompt=PROMPT, target={**target, "by": "whole"}).labels


@pytest.mark.parametrize("units", ["token", "word", "sentence"])
def test_a_chat_is_summed_by_message_and_role(run, units):
    messages = [
        {"role": "user", "content": "The food was great."},
        {"role": "user", "content": "The room was small. Really!"},
        {"role": "assistant", "content": "I like it."},
        {"role": "user", "content": "Every fox is red"},
    ]
    result = run("explain/feature-ablation", messages=messages, target=" the", units=units)
    assert [(share.index, share.role) for share in result.by_message] == [
        (0, "user"), (1, "user"), (2, "assistant"), (3, "user"),
    ]  # fmt: skip
    assert sorted(i for share in result.by_message for i in share.units) == list(range(len(result.units)))
    for share in result.by_message:
        assert share.value == pytest.approx(sum(result.values[i] for i in share.units))
        text = " ".join(result.units[i].text for i in share.units)
        assert text.replace(" ", "") == messages[share.index]["content"].replace(" ", "")
    assert set(result.by_role) == {"user", "assistant"}
    assert math.fsum(result.by_role.values()) == pytest.approx(math.fsum(result.values))
    for kind in result.groups:
        shown = result.regrouped(kind)
        np.testing.assert_allclose([s.value for s in shown.by_message], [s.value for s in result.by_message])


def test_a_prompt_has_no_messages(run):
    result = run("explain/feature-ablation", prompt=PROMPT, target=" the")
    assert (result.by_message, result.by_role) == (None, None)


def test_tokens_regrouped_have_the_units_of_a_result_by_words(run):
    prompt = "I don't like it... really! Mary and John went. Every fox is red."
    by_token = run("explain/feature-ablation", prompt=prompt, target=" the", units="token")
    assert by_token.unit_kind == "token"
    for kind in ("word", "sentence"):
        asked = run("explain/feature-ablation", prompt=prompt, target=" the", units=kind)
        shown = by_token.regrouped(kind)
        assert shown.units == asked.units
        assert shown.summed_from == "token"
        assert sum(shown.values) == pytest.approx(sum(by_token.values))
        # Another game: what is lost with a word at once is not the sum of what is lost with its tokens.
        assert not np.allclose(shown.values, asked.values, atol=1e-3)
    segments = run("explain/feature-ablation", prompt=prompt, target=" the", units={"segments": [[0, 7]]})
    assert (segments.unit_kind, segments.groups) == ("segments", {})


def test_template_tokens_are_told_apart(run):
    result = run("infer/tokenize", messages=[{"role": "user", "content": "The food"}])
    assert [token.text for token in result.tokens if token.template] == ["<s>", "<|user|>", "<|assistant|>"]
    assert all((token.unit is None) == token.template for token in result.tokens)
    assert not any(token.template for token in run("infer/tokenize", prompt="The food").tokens)
