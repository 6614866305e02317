"""Attributions of classifiers and infer/classify, against brute force, captum one at a time and plain forwards."""

from functools import cache

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation, ShapleyValues

from explaind.contract.blocks.subject import PromptRequest
from explaind.contract.errors import InvalidRequest, InvalidTarget, NonFiniteScore, PromptTooLong, WrongModelKind
from explaind.contract.registry import find_method
from explaind_worker.engine.scoring.masker import Masker, replacement_for
from explaind_worker.engine.scoring.units import units_of
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.runtime.runner import implementation_of
from explaind_worker.session.provenance import provenance_of, timing_of
from explaind_worker.session.session import Session
from tests.support.reference import row_logits, shapley_by_permutations, token_logprobs

PROMPT = "The food was great but rude"
FAMILIES = ["bert", "roberta", "distilbert", "electra", "deberta-v2", "gpt2", "llama", "gemma"]
POSITIVE = {"class": "POSITIVE"}


def plain_value(model, baseline, score, prompt=PROMPT):
    """The score of every coalition, given as a frozenset, from one plain forward; and the number of units."""
    encoded = model.encoder.prompt(PromptRequest(model="m", prompt=prompt))
    unit_map = units_of(encoded, "word")
    players = Masker(encoded, unit_map, replacement_for(baseline, model.encoder, encoded, unit_map))

    @cache
    def value(present):
        coalition = np.isin(np.arange(players.count), list(present))[None]
        return float(score(row_logits(model, next(iter(players.rows(coalition))))))

    return value, players.count


def log_softmax(logits):
    return logits - np.logaddexp.reduce(logits)


@pytest.mark.parametrize(
    ("family", "baseline"),
    [*((f, "mask") for f in FAMILIES), ("bert", "remove"), ("roberta", "remove"), ("llama", "remove")],
)
def test_exact_shap_equals_brute_force(classifier, run, tiny_classifier, family, baseline):
    model = classifier(family)
    value, count = plain_value(model, baseline, lambda logits: log_softmax(logits)[2])
    result = run(
        "explain/shap",
        entry=tiny_classifier(family),
        prompt=PROMPT,
        target=POSITIVE,
        baseline=baseline,
        algorithm="exact",
    )
    np.testing.assert_allclose(result.values, shapley_by_permutations(count, value), atol=1e-4)
    assert result.base_value == pytest.approx(value(frozenset()), abs=1e-4)
    assert result.full_value == pytest.approx(value(frozenset(range(count))), abs=1e-4)
    assert abs(result.completeness_gap) < 1e-6
    assert [unit.text for unit in result.units] == PROMPT.split(), "the tokens of the template are no units"
    assert (result.target.text, result.target.tokens[0].id) == ("POSITIVE", 2)
    assert result.target.logprob == pytest.approx(result.full_value)
    other = run("explain/shap", entry=tiny_classifier(family), prompt=PROMPT, target={"class": 0}, baseline=baseline)
    assert np.abs(np.subtract(other.values, result.values)).max() > 1e-2, "another class is another answer"


@pytest.mark.parametrize(("method", "captums"), [("feature-ablation", FeatureAblation), ("shap", ShapleyValues)])
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_captum_one_at_a_time(classifier, run, tiny_classifier, family, method, captums):
    value, count = plain_value(classifier(family), "mask", lambda logits: logits[1] - logits[0])

    def forward(z):
        return torch.tensor([value(frozenset(np.flatnonzero(row.numpy()))) for row in z])

    expected = captums(forward).attribute(torch.ones(1, count))[0]
    result = run(
        f"explain/{method}",
        entry=tiny_classifier(family),
        prompt=PROMPT,
        target={"class": "NEUTRAL"},
        foil={"class": 0},
        score="logit",
    )
    np.testing.assert_allclose(result.values, expected.numpy(), atol=1e-4)
    assert (result.target.text, result.foil.text) == ("NEUTRAL", "NEGATIVE")
    assert np.array(result.values_by_target).shape == (count, 2)


def test_null_is_the_class_predicted(classifier, run, tiny_classifier):
    model, entry = classifier("bert"), tiny_classifier("bert")
    encoded = model.encoder.prompt(PromptRequest(model="m", prompt=PROMPT))
    best = int(row_logits(model, encoded.token_ids).argmax())
    result = run("explain/feature-ablation", entry=entry, prompt=PROMPT)
    assert result.target.tokens[0].id == best
    named = run("explain/feature-ablation", entry=entry, prompt=PROMPT, target={"class": best})
    np.testing.assert_array_equal(result.values, named.values)
    with pytest.raises(InvalidTarget, match="same class"):
        run("explain/feature-ablation", entry=entry, prompt=PROMPT, foil={"class": best})


def test_several_classes_may_be_right(classifier, run, tiny_classifier):
    config = {"problem_type": "multi_label_classification"}
    model, entry = classifier("roberta", **config), tiny_classifier("roberta", **config)
    value, count = plain_value(model, "mask", lambda logits: 1 / (1 + np.exp(-logits[1])))
    result = run("explain/shap", entry=entry, prompt=PROMPT, target={"class": 1}, score="prob", algorithm="exact")
    np.testing.assert_allclose(result.values, shapley_by_permutations(count, value), atol=1e-5)
    answer = run("infer/classify", entry=entry, prompt=PROMPT)
    assert answer.rule == "sigmoid"
    assert answer.classes[1].probability == pytest.approx(result.full_value, abs=1e-6)
    assert sum(c.probability for c in answer.classes) != pytest.approx(1.0, abs=1e-3)


def test_a_regression_has_a_number_only(classifier, run, tiny_classifier):
    config = {"id2label": {0: "QUALITY"}, "label2id": {"QUALITY": 0}}
    model, entry = classifier("distilbert", **config), tiny_classifier("distilbert", **config)
    value, count = plain_value(model, "mask", lambda logits: logits[0])
    result = run("explain/shap", entry=entry, prompt=PROMPT, score="logit", algorithm="exact")
    np.testing.assert_allclose(result.values, shapley_by_permutations(count, value), atol=1e-4)
    assert result.target.tokens[0].logprob is None
    result.model_validate_json(result.model_dump_json())
    with pytest.raises(InvalidTarget) as caught:
        run("explain/shap", entry=entry, prompt=PROMPT)
    assert caught.value.errors[0].pointer == "/score"
    answer = run("infer/classify", entry=entry, prompt=PROMPT)
    assert (answer.rule, answer.best.label, answer.best.probability) == ("none", "QUALITY", None)
    assert answer.best.logit == pytest.approx(value(frozenset(range(count))), abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_classify_gives_the_models_own_probabilities(classifier, run, tiny_classifier, family):
    model = classifier(family)
    encoded = model.encoder.prompt(PromptRequest(model="m", prompt=PROMPT))
    logits = row_logits(model, encoded.token_ids)
    result = run("infer/classify", entry=tiny_classifier(family), prompt=PROMPT)
    assert [c.label for c in result.classes] == ["NEGATIVE", "NEUTRAL", "POSITIVE"]
    np.testing.assert_allclose([c.logit for c in result.classes], logits, atol=1e-4)
    np.testing.assert_allclose([c.probability for c in result.classes], np.exp(log_softmax(logits)), atol=1e-5)
    assert result.best.index == result.predicted == int(logits.argmax())


def test_labels_are_scored_whole_and_normalised(loaded, run):
    model, labels = loaded("llama"), [" Mary", " the store", " red"]
    encoded = model.encoder.prompt(PromptRequest(model="m", prompt=PROMPT))
    of_tokens = [token_logprobs(model, encoded.token_ids, model.encoder.continuation(encoded, x)) for x in labels]
    whole = np.array([sum(logprobs) for logprobs in of_tokens])
    result = run("infer/classify", prompt=PROMPT, labels=labels)
    np.testing.assert_allclose([c.logit for c in result.classes], whole, atol=1e-4)
    np.testing.assert_allclose([c.probability for c in result.classes], np.exp(log_softmax(whole)), atol=1e-5)
    for scored, logprobs, label in zip(result.classes, of_tokens, labels, strict=True):
        assert [t.logprob for t in scored.tokens] == pytest.approx(logprobs, abs=1e-4)
        assert "".join(t.text for t in scored.tokens) == scored.label == label
    explained = run("explain/feature-ablation", prompt=PROMPT, target={"labels": labels, "explain": labels[0]})
    assert np.exp(explained.full_value) == pytest.approx(result.classes[0].probability, abs=1e-5)


def test_a_chat_is_complete_to_a_classifier(classifier, run, tiny_classifier):
    """A reward model reads a whole conversation: no further turn is opened."""
    entry = tiny_classifier("llama")
    messages = [{"role": "user", "content": "The food was"}, {"role": "assistant", "content": "great"}]
    assert run("infer/classify", entry=entry, messages=messages).prompt.endswith("<|assistant|>great")
    assert run("infer/classify", entry=entry, messages=messages[:1]).prompt.endswith("The food was")


REFUSED_OF_CLASSIFIERS = [
    ("infer/generate", {}, WrongModelKind, "/model"),
    ("infer/score", {"target": " x"}, WrongModelKind, "/model"),
    ("infer/classify", {"labels": ["a", "b"]}, InvalidRequest, "/labels"),
    ("explain/shap", {"target": " POSITIVE"}, InvalidTarget, "/target"),
    ("explain/shap", {"target": {"labels": ["a", "b"], "explain": "a"}}, InvalidTarget, "/target"),
    ("explain/shap", {"target": {"token_ids": [1]}}, InvalidTarget, "/target"),
    ("explain/shap", {"target": {"generate": {}}}, InvalidTarget, "/target"),
    ("explain/shap", {"target": {"class": "POSTIVE"}}, InvalidTarget, "/target/class"),
    ("explain/shap", {"target": {"class": 3}}, InvalidTarget, "/target/class"),
    ("explain/shap", {"foil": {"class": 9}}, InvalidTarget, "/foil/class"),
    ("explain/shap", {"foil": " x"}, InvalidTarget, "/foil"),
    ("explain/shap", {"target": {"class": 2}, "foil": POSITIVE}, InvalidTarget, "/foil"),
    ("explain/shap", {"prompt": "food " * 130}, PromptTooLong, "/prompt"),
    ("explain/shap", {"prompt": "food " * 40, "baseline": {"text": "the food was great"}}, PromptTooLong, "/baseline"),
]
REFUSED_OF_CAUSAL_MODELS = [
    ("infer/classify", {}, InvalidRequest, "/labels"),
    ("explain/shap", {"target": POSITIVE}, InvalidTarget, "/target"),
    ("explain/shap", {"target": " x", "foil": {"class": 0}}, InvalidTarget, "/foil"),
]


def refuse(entry, path, params, error, pointer):
    method, fresh = find_method(path), ModelPool()
    request = method.params_model.model_validate({"model": "m", "prompt": PROMPT, **params})
    with Session(entry, fresh, lambda *_: None) as session, pytest.raises(error) as caught:
        implementation_of(method)(request, session)
    assert type(caught.value) is error
    assert [e.pointer for e in caught.value.errors] == [pointer]
    assert caught.value.hint
    assert fresh.resident() == [], "refused before its weights are loaded"


@pytest.mark.parametrize("family", ["bert", "llama"])
@pytest.mark.parametrize(("path", "params", "error", "pointer"), REFUSED_OF_CLASSIFIERS)
def test_what_a_classifier_cannot_do(tiny_classifier, family, path, params, error, pointer):
    refuse(tiny_classifier(family), path, params, error, pointer)


@pytest.mark.parametrize(("path", "params", "error", "pointer"), REFUSED_OF_CAUSAL_MODELS)
def test_what_a_causal_model_cannot_do(tiny_model, path, params, error, pointer):
    refuse(tiny_model("llama"), path, params, error, pointer)


def test_the_hint_names_the_class_that_was_meant(tiny_classifier):
    with Session(tiny_classifier("bert"), ModelPool(), lambda *_: None) as session:
        request = find_method("explain/shap").params_model.model_validate(
            {"model": "m", "prompt": PROMPT, "target": "POSITIVE"}
        )
        with pytest.raises(InvalidTarget) as caught:
            implementation_of(find_method("explain/shap"))(request, session)
    assert '{"class": "POSITIVE"}' in caught.value.hint


def test_a_classifier_that_answers_nan_fails_the_job(classifier, run, tiny_classifier):
    model, entry = classifier("bert"), tiny_classifier("bert")
    handle = model.network.classifier.register_forward_hook(lambda _m, _a, output: output * float("nan"))
    try:
        for path in ("explain/feature-ablation", "infer/classify"):
            with pytest.raises(NonFiniteScore):
                run(path, entry=entry, prompt=PROMPT)
    finally:
        handle.remove()


def test_provenance_and_timing_of_a_classifier(tiny_classifier, pool):
    entry, method = tiny_classifier("bert"), find_method("infer/classify")
    request = method.params_model.model_validate({"model": entry.name, "prompt": PROMPT})
    with Session(entry, pool, lambda *_: None) as session:
        implementation_of(method)(request, session)
        provenance, timing = provenance_of(session, method, request), timing_of(session, queued_s=0.0)
    assert provenance.architecture == "BertForSequenceClassification"
    assert provenance.token_ids[0] == 2
    assert provenance.token_ids[-1] == 3, "the closing token is read"
    assert timing.forwards == 1
