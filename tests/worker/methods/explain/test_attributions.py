"""explain/shap and explain/feature-ablation against brute force and captum over plain forwards."""

from functools import cache

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation, ShapleyValues

from explaind.contract.blocks.subject import PromptRequest
from explaind.contract.errors import (
    BudgetTooSmall,
    InvalidTarget,
    InvalidUnits,
    NonFiniteScore,
    PromptTooLong,
    TargetTooLong,
    TooManyUnits,
)
from explaind_worker.engine.scoring.masker import Masker, replacement_for
from explaind_worker.engine.scoring.units import units_of
from tests.support.reference import shapley_by_permutations, token_logits, token_logprobs

PROMPT = "Once upon a time Mary gave"
TARGET = " a drink to John"


def plain_value(model, prompt, baseline, continuations, of=token_logprobs, units="word"):
    """A function of the set of present units, by one plain forward per continuation; and the number of units."""
    encoded = model.encoder.prompt(PromptRequest(model="m", prompt=prompt))
    unit_map = units_of(encoded, units)
    players = Masker(encoded, unit_map, replacement_for(baseline, model.encoder, encoded, unit_map))

    @cache
    def value(present):
        coalition = np.isin(np.arange(players.count), list(present))[None]
        row = next(iter(players.rows(coalition)))
        return np.array([sum(of(model, row, c)) for c in continuations])

    return value, players.count


def ids_of(model, prompt, text):
    return model.encoder.continuation(model.encoder.prompt(PromptRequest(model="m", prompt=prompt)), text)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
@pytest.mark.parametrize("baseline", ["mask", "remove"])
def test_exact_shap_equals_brute_force(loaded, run, tiny_model, family, baseline):
    model = loaded(family)
    value, count = plain_value(model, PROMPT, baseline, [ids_of(model, PROMPT, TARGET)])
    expected = shapley_by_permutations(count, lambda present: value(present)[0])
    result = run(
        "explain/shap",
        entry=tiny_model(family),
        prompt=PROMPT,
        target=TARGET,
        baseline=baseline,
        algorithm="exact",
    )
    np.testing.assert_allclose(result.values, expected, atol=2e-4)
    assert result.algorithm == "exact"
    assert result.evaluations == 2**count
    assert abs(result.completeness_gap) < 1e-4
    assert result.base_value == pytest.approx(float(value(frozenset())[0]), abs=2e-4)
    assert result.full_value == pytest.approx(float(value(frozenset(range(count)))[0]), abs=2e-4)
    assert result.full_value == pytest.approx(result.target.logprob, abs=1e-4)


def test_exact_shap_equals_captum(loaded, run):
    model = loaded("llama")
    value, count = plain_value(model, PROMPT, "mask", [ids_of(model, PROMPT, TARGET)])

    def forward(z):
        return torch.tensor([value(frozenset(np.flatnonzero(row.numpy())))[0] for row in z])

    expected = ShapleyValues(forward).attribute(torch.ones(1, count))[0]
    result = run("explain/shap", prompt=PROMPT, target=TARGET, algorithm="exact")
    np.testing.assert_allclose(result.values, expected.numpy(), atol=2e-4)


@pytest.mark.parametrize("units", ["token", "word"])
def test_feature_ablation_equals_captum(loaded, run, units):
    model = loaded("llama")
    value, count = plain_value(model, PROMPT, "mask", [ids_of(model, PROMPT, TARGET)], units=units)

    def forward(z):
        return torch.tensor([value(frozenset(np.flatnonzero(row.numpy())))[0] for row in z])

    expected = FeatureAblation(forward).attribute(torch.ones(1, count))[0]
    result = run("explain/feature-ablation", prompt=PROMPT, target=TARGET, units=units)
    np.testing.assert_allclose(result.values, expected.numpy(), atol=2e-4)
    assert result.evaluations == count + 2
    gap = result.full_value - result.base_value - sum(result.values)
    assert result.completeness_gap == pytest.approx(gap)
    assert abs(result.completeness_gap) > 0.01, "ablation is not complete, and the result must say so"


@pytest.mark.parametrize("algorithm", ["kernel", "permutation"])
def test_sampled_shap_converges_to_exact(run, algorithm):
    prompt = "When Mary and John went to the store, John gave"
    exact = run("explain/shap", prompt=prompt, target=TARGET, algorithm="exact")
    few = run("explain/shap", prompt=prompt, target=TARGET, algorithm=algorithm, budget=120, seed=1)
    many = run("explain/shap", prompt=prompt, target=TARGET, algorithm=algorithm, budget=1500, seed=1)
    distance = [np.abs(np.subtract(r.values, exact.values)).max() for r in (few, many)]
    assert distance[1] < distance[0]
    assert np.abs(np.subtract(many.values, exact.values)).max() < 4 * max(many.standard_errors)
    assert max(many.standard_errors) < max(few.standard_errors)
    for result in (few, many):
        assert abs(result.completeness_gap) < 1e-4


def test_columns_add_up_and_name_the_target_tokens(run):
    result = run("explain/shap", prompt=PROMPT, target=TARGET, foil=" the store", algorithm="exact")
    columns = np.array(result.values_by_target)
    assert columns.shape == (len(result.units), len(result.target.tokens) + len(result.foil.tokens))
    np.testing.assert_allclose(columns.sum(axis=1), result.values, atol=1e-9)
    assert "".join(t.text for t in result.target.tokens) == TARGET
    assert result.foil.text == " the store"


def test_a_foil_is_the_difference_of_two_explanations(run):
    shared = {"prompt": PROMPT, "algorithm": "exact"}
    against = run("explain/shap", target=" Mary", foil=" John", **shared)
    target = run("explain/shap", target=" Mary", **shared)
    foil = run("explain/shap", target=" John", **shared)
    np.testing.assert_allclose(against.values, np.subtract(target.values, foil.values), atol=1e-4)


def test_logits_and_probabilities(loaded, run):
    model = loaded("llama")
    ids = ids_of(model, PROMPT, " a drink")
    value, count = plain_value(model, PROMPT, "mask", [ids], of=token_logits)
    everything = frozenset(range(count))
    result = run("explain/feature-ablation", prompt=PROMPT, target=" a drink", score="logit")
    expected = [value(everything)[0] - value(everything - {i})[0] for i in range(count)]
    np.testing.assert_allclose(result.values, expected, atol=2e-4)
    value, _ = plain_value(model, PROMPT, "mask", [ids], of=lambda *a: [np.exp(x) for x in token_logprobs(*a)])
    result = run("explain/feature-ablation", prompt=PROMPT, target=" a drink", score="prob")
    expected = [value(everything)[0] - value(everything - {i})[0] for i in range(count)]
    np.testing.assert_allclose(result.values, expected, atol=2e-5)


def test_labels_are_a_closed_set(loaded, run):
    model = loaded("llama")
    labels = [" Mary", " the store", " red"]
    value, count = plain_value(model, PROMPT, "mask", [ids_of(model, PROMPT, text) for text in labels])

    def share(present):
        whole = np.exp(value(present))
        return float(np.log(whole[1] / whole.sum()))

    target = {"labels": labels, "explain": " the store"}
    result = run("explain/shap", prompt=PROMPT, target=target, algorithm="exact")
    np.testing.assert_allclose(result.values, shapley_by_permutations(count, share), atol=3e-4)
    assert [label.text for label in result.labels] == labels
    assert result.target.text == " the store"


def test_null_target_is_the_likeliest_next_token(loaded, run):
    model = loaded("llama")
    encoded = model.encoder.prompt(PromptRequest(model="m", prompt=PROMPT))
    with torch.no_grad():
        best = int(model.network(torch.tensor([encoded.token_ids])).logits[0, -1].argmax())
    result = run("explain/feature-ablation", prompt=PROMPT)
    assert [t.id for t in result.target.tokens] == [best]


def test_a_generated_target_is_what_the_model_says(loaded, run, tiny_model):
    said = run("infer/generate", prompt=PROMPT, max_new_tokens=5)
    result = run("explain/feature-ablation", prompt=PROMPT, target={"generate": {"max_new_tokens": 5}})
    assert [t.id for t in result.target.tokens] == [t.id for t in said.tokens]
    assert result.full_value == pytest.approx(said.logprob, abs=1e-3)


def test_token_ids_equal_their_text(loaded, run):
    ids = ids_of(loaded("llama"), PROMPT, TARGET)
    by_text = run("explain/feature-ablation", prompt=PROMPT, target=TARGET)
    by_ids = run("explain/feature-ablation", prompt=PROMPT, target={"token_ids": list(ids)})
    np.testing.assert_allclose(by_text.values, by_ids.values, atol=1e-6)


def test_messages_are_explained_by_their_contents(run):
    messages = [{"role": "user", "content": "The food was great"}, {"role": "assistant", "content": "I like"}]
    result = run("explain/shap", messages=messages, target=" the food")
    assert [u.text for u in result.units] == ["The", "food", "was", "great", "I", "like"]
    assert [u.role for u in result.units] == ["user"] * 4 + ["assistant"] * 2
    assert result.prompt.endswith("<|assistant|>I like")
    assert abs(result.completeness_gap) < 1e-4


@pytest.mark.parametrize("prompt", ["x", "😀", "great great great", "naïve 👨‍👩‍👧 日本", "a\n\nb"])
def test_odd_prompts(run, prompt):
    for units in ("token", "word"):
        result = run("explain/shap", prompt=prompt, target=" the", units=units)
        assert all(prompt[u.start : u.end] == u.text for u in result.units)
        assert abs(result.completeness_gap) < 1e-4


def test_one_unit_gets_the_whole_difference(run):
    for algorithm in ("auto", "exact", "kernel", "permutation"):
        result = run("explain/shap", prompt="Mary", target=" gave", algorithm=algorithm)
        assert result.values == pytest.approx([result.full_value - result.base_value])


@pytest.mark.parametrize(
    ("words", "budget", "algorithm"),
    [
        (5, 32, "exact"),
        (5, 31, "kernel"),
        (12, 4096, "exact"),
        (13, 300, "kernel"),
        (20, 80, "kernel"),
        (20, 79, "permutation"),
    ],
)
def test_auto_takes_the_most_exact_within_the_budget(run, words, budget, algorithm):
    result = run("explain/shap", prompt="food " * words, target=" the", budget=budget)
    assert result.algorithm == algorithm
    assert result.evaluations <= budget


REFUSALS = [
    (TooManyUnits, "/algorithm", {"prompt": "food " * 13, "algorithm": "exact"}),
    (BudgetTooSmall, "/budget", {"prompt": "food " * 30, "budget": 59}),
    (BudgetTooSmall, "/budget", {"prompt": "food " * 30, "budget": 61, "algorithm": "kernel"}),
    (PromptTooLong, "/prompt", {"prompt": "food " * 200}),
    (PromptTooLong, "/messages", {"messages": [{"role": "user", "content": "food " * 200}]}),
    (TargetTooLong, "/target", {"prompt": "food", "target": " food" * 200}),
    (TargetTooLong, "/target", {"prompt": "food " * 60, "target": " food" * 40}),
    (
        TargetTooLong,
        "/target/generate/max_new_tokens",
        {"prompt": "x", "target": {"generate": {"max_new_tokens": 300}}},
    ),
    (InvalidTarget, "/foil", {"prompt": "food", "target": " Mary", "foil": " Mary"}),
    (InvalidTarget, "/target/token_ids/0", {"prompt": "food", "target": {"token_ids": [9999]}}),
    (InvalidUnits, "/units", {"prompt": " \n "}),
    (InvalidUnits, "/units/segments/1", {"prompt": "food", "units": {"segments": [[0, 1], [1, 2]]}}),
]


@pytest.mark.parametrize(("error", "pointer", "params"), REFUSALS, ids=[f"{e.code}-{p}" for e, p, _ in REFUSALS])
def test_bad_requests_name_the_field_before_the_weights_are_loaded(tiny_model, error, pointer, params):
    from explaind.contract.registry import find_method
    from explaind_worker.models.pool.pool import ModelPool
    from explaind_worker.runtime.runner import implementation_of
    from explaind_worker.session.session import Session

    method, entry, fresh = find_method("explain/shap"), tiny_model("llama"), ModelPool()
    request = method.params_model.model_validate({"model": "m", "target": " the", **params})
    with pytest.raises(error) as caught:
        implementation_of(method)(request, Session(entry, fresh, lambda *_: None))
    assert [e.pointer for e in caught.value.errors] == [pointer]
    assert fresh.resident() == []


def test_a_model_that_answers_nan_fails_the_job(loaded, run):
    unembedding = loaded("llama").anatomy.unembedding
    handle = unembedding.register_forward_hook(lambda _m, _a, output: output * float("nan"))
    try:
        with pytest.raises(NonFiniteScore):
            run("explain/feature-ablation", prompt=PROMPT, target=" the")
    finally:
        handle.remove()
