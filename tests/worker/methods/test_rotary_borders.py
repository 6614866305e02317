"""Methods on a model whose rotary factors depend on length: prompts, labels, questions on both sides of its border."""

import numpy as np
import pytest
import torch

from explaind.contract.blocks.subject import PromptRequest
from explaind.contract.registry import find_method
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.models.structure.rotary_lengths import RotaryLengths
from explaind_worker.runtime.runner import implementation_of
from explaind_worker.session.session import Session
from tests.support.rotary_models import BORDER, Alone, save_rotary

KIND = "longrope"
OFF = 0.1
PROMPT = "Mary went to the store and John gave"
QUESTIONS = {
    "questions": [{"question": "Every fox", "answer": " is red"}, {"question": "Mary went to the", "answer": " store"}]
}
LABELS = [" a", " the drink to Mary", " every fox is red"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer):
    made = tmp_path_factory.mktemp(KIND)
    save_rotary(made, KIND, tokenizer)
    return made


@pytest.fixture(scope="module")
def entry(folder):
    return ModelEntry(name=KIND, path=folder)


@pytest.fixture(scope="module")
def alone(folder):
    return Alone(folder)


@pytest.fixture(scope="module")
def encoder(pool, entry):
    return pool.model(entry)[0].encoder


@pytest.fixture(scope="module")
def asked(encoder):
    """Token ids of the prompt and of the labels; their rows end on both sides of the border."""
    encoded = encoder.prompt(PromptRequest(model=KIND, prompt=PROMPT))
    labels = [encoder.continuation(encoded, label) for label in LABELS]
    ends = [len(encoded) + len(label) - 1 for label in labels]
    assert min(ends) <= BORDER < max(ends)
    return list(encoded.token_ids), labels


@pytest.fixture
def border_unheeded(monkeypatch):
    monkeypatch.setattr(RotaryLengths, "last", lambda _, length: 1 << 22)
    monkeypatch.setattr(RotaryLengths, "alike", lambda *_: True)
    monkeypatch.setattr(RotaryLengths, "vary", False)


def label_score(alone, prompt, labels, chosen=1):
    """The log-probability of a label among all of them."""
    sums = torch.tensor([sum(alone.logprobs(prompt, label)) for label in labels], dtype=torch.float64)
    return float(sums.log_softmax(0)[chosen])


def ablated(run, entry):
    found = run(
        "explain/feature-ablation",
        entry=entry,
        prompt=PROMPT,
        target={"labels": LABELS, "explain": LABELS[1]},
        units="token",
        baseline="remove",
    )
    return np.array(found.values), found.full_value


def ablated_alone(alone, asked):
    prompt, labels = asked
    full = label_score(alone, prompt, labels)
    without = [label_score(alone, prompt[:place] + prompt[place + 1 :], labels) for place in range(1, len(prompt))]
    return full - np.array(without), full


def test_removed_tokens_bring_rows_to_the_other_side(run, entry, alone, asked):
    found, full = ablated(run, entry)
    expected, whole = ablated_alone(alone, asked)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert full == pytest.approx(whole, abs=1e-3)


@pytest.mark.usefixtures("border_unheeded")
def test_without_a_border_the_values_would_be_others(run, entry, alone, asked):
    assert np.abs(ablated(run, entry)[0] - ablated_alone(alone, asked)[0]).max() > OFF


def test_labels_are_classified_as_each_alone(run, entry, alone, asked):
    found = run("infer/classify", entry=entry, prompt=PROMPT, labels=LABELS)
    prompt, labels = asked
    np.testing.assert_allclose(
        [one.logit for one in found.classes], [sum(alone.logprobs(prompt, label)) for label in labels], atol=2e-3
    )


def test_a_generation_crosses_the_border(run, entry, alone, asked):
    found = run("infer/generate", entry=entry, prompt=PROMPT, max_new_tokens=8)
    expected = alone.greedy(asked[0], 8)
    said = [token.id for token in found.tokens]
    assert said == expected[: len(said)]
    logprobs = [
        float(alone.logits([*asked[0], *expected[:place]])[-1].log_softmax(-1)[token])
        for place, token in enumerate(said)
    ]
    np.testing.assert_allclose([token.logprob for token in found.tokens], logprobs, atol=2e-3)


def test_questions_are_answered_as_each_alone(run, entry, encoder, alone):
    texts = ["Every fox", "When Mary and John went to the store", "Once upon a time 12 and 3 went to the store, and"]
    questions = [{"question": text, "answer": " red"} for text in texts]
    found = run(
        "evaluate/questions",
        entry=entry,
        questions={"questions": questions},
        template="{question}",
        max_new_tokens=6,
    )
    for question, text in zip(found.questions, texts, strict=True):
        encoded = encoder.prompt(PromptRequest(model=KIND, prompt=text))
        ids = list(encoded.token_ids)
        answer = encoder.continuation(encoded, " red")
        assert question.logprob == pytest.approx(sum(alone.logprobs(ids, answer)), abs=2e-3)
        said = alone.greedy(ids, 6)
        said = said[: said.index(2)] if 2 in said else said
        assert question.said == encoder.text_of(said, after=ids)


def test_patched_labels_take_what_their_own_run_says(run, entry, encoder, alone, asked):
    corrupted = PROMPT.replace("Mary", "John")
    found = run(
        "explain/activation-patching",
        entry=entry,
        prompt=PROMPT,
        corrupted=corrupted,
        target={"labels": LABELS, "explain": LABELS[1]},
        grids=["resid_pre"],
        layers=[1],
    )
    clean, labels = asked
    other = list(encoder.prompt(PromptRequest(model=KIND, prompt=corrupted)).token_ids)
    first = next(place for place, pair in enumerate(zip(clean, other, strict=True)) if pair[0] != pair[1])

    def patched(place):
        sums = []
        for label in labels:
            kept = []
            module = alone.anatomy.blocks[1].module
            handle = module.register_forward_pre_hook(lambda _m, args, kept=kept: kept.append(args[0]))
            alone.logits([*clean, *label[:-1]])
            handle.remove()

            def put(_module, args, kept=kept):
                hidden = args[0].clone()
                hidden[0, place] = kept[0][0, place]
                return (hidden, *args[1:])

            handle = module.register_forward_pre_hook(put)
            sums.append(sum(alone.logprobs(other, label)))
            handle.remove()
        return float(torch.tensor(sums, dtype=torch.float64).log_softmax(0)[1])

    grid = found.grids[0]
    assert found.clean_score == pytest.approx(label_score(alone, clean, labels), abs=2e-3)
    for place in (first, first + 1, len(clean) - 1):
        assert grid.scores[0][place] == pytest.approx(patched(place), abs=3e-3)


def test_room_is_for_the_whole_text_where_it_is_read_again(entry):
    def least(tokens, new_tokens):
        with Session(entry, ModelPool(), lambda *_: None, dry_run=True) as session:
            session.model_access.batch_limits(tokens, new_tokens=new_tokens)
            return session.model_access.least_bytes

    assert least(BORDER - 2, 8) == least(BORDER + 6, 0)
    assert least(BORDER + 2, 8) < least(BORDER + 10, 0), "a cache that serves to the end is all that grows"


@pytest.mark.parametrize(
    ("path", "params", "share"),
    [
        ("infer/generate", {"prompt": PROMPT, "max_new_tokens": 8}, None),
        ("explain/feature-ablation", {"prompt": PROMPT, "target": " a drink to", "baseline": "remove"}, None),
        ("infer/classify", {"prompt": PROMPT, "labels": LABELS}, None),
        # A text may end earlier than an estimate can know; it takes runs to leave their draft half way.
        ("evaluate/questions", {"questions": QUESTIONS, "template": "{question}", "max_new_tokens": 8}, 1.0),
        ("explain/layer-ablation", {"questions": QUESTIONS, "template": "{question}", "metric": "accuracy"}, 0.5),
    ],
)
def test_an_estimate_counts_what_is_read_again(entry, path, params, share):
    method = find_method(path)
    request = method.params_model.model_validate({**params, "model": entry.name})
    counts = []
    for dry_run in (True, False):
        pool = ModelPool()
        if not dry_run:
            pool.model(entry)
        with Session(entry, pool, lambda *_: None, dry_run=dry_run) as session:
            implementation_of(method)(request, session)
            counts.append((session.job.meter.forwards, session.job.meter.tokens_evaluated))
    (said, said_tokens), (forwards, tokens) = counts
    if share is None:
        assert (said, said_tokens) == (forwards, tokens)
    else:
        assert said_tokens >= share * tokens > 0
