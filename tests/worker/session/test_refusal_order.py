"""A request is refused by its fields, the tokenizer or the memory before its model's weights are loaded."""

import pytest
from pydantic import ValidationError

from explaind.contract.errors import InvalidRequest, InvalidTarget, ModelTooLarge, PromptTooLong, RequestTooLarge
from explaind.contract.registry import find_method
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.models.loading.loading import size_of
from explaind_worker.models.pool.memory_budget import MemoryBudget
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.runtime.runner import implementation_of
from explaind_worker.session.session import Session

LONG, OTHER = "food " * 54, "room " * 54
MEMBERS = ["feature-ablation", "saliency"]
QUESTIONS = {"questions": {"questions": [{"question": LONG, "answer": "great"}]}, "template": "{question}"}


def carried_out(entry: ModelEntry, pool: ModelPool, path: str, fields: dict) -> None:
    method = find_method(path)
    params = method.params_model.model_validate({"model": entry.name, **fields})
    with Session(entry, pool, lambda *_: None) as session:
        implementation_of(method)(params, session)


# Each request is wrong at its step and at every later one: a prompt as long would not fit the memory either.
STEPS = [
    ("fields", ValidationError, {"prompt": LONG, "target": " great", "foil": " great", "units": "nonsense"}),
    ("tokenizer, prompt", PromptTooLong, {"prompt": "food " * 3000, "target": " great", "foil": " great"}),
    ("tokenizer, target", InvalidTarget, {"prompt": LONG, "target": " great", "foil": " great"}),
    ("memory", RequestTooLarge, {"prompt": LONG, "target": " great"}),
]


@pytest.mark.parametrize(("step", "error", "fields"), STEPS, ids=[step for step, *_ in STEPS])
@pytest.mark.parametrize("path", ["explain/shap", "explain/saliency"])
def test_the_first_step_that_can_refuse_an_attribution_does(tiny_model, path, step, error, fields):
    entry = tiny_model("gemma")
    tight = ModelPool(MemoryBudget(size_of(entry) + 120_000))
    with pytest.raises(error):
        carried_out(entry, tight, path, fields)
    assert tight.resident() == [], f"refused by {step}, before the weights are loaded"


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("explain/shap", {"prompt": LONG, "target": " great"}),
        ("explain/shap", {"prompt": LONG}),
        ("explain/feature-ablation", {"prompt": LONG, "target": " great", "precision": "fast"}),
        ("explain/logit-lens", {"prompt": LONG}),
        ("explain/compare-methods", {"prompt": LONG, "target": " great", "methods": MEMBERS}),
        ("explain/integrated-gradients", {"prompt": LONG, "target": " great"}),
        ("explain/deeplift", {"prompt": LONG, "target": " great"}),
        ("explain/attention", {"prompt": LONG}),
        ("explain/logit-attribution", {"prompt": LONG, "target": " great"}),
        (
            "explain/activation-patching",
            {"prompt": LONG, "corrupted": OTHER, "target": " great"},
        ),
        ("explain/head-ablation", QUESTIONS),
        ("evaluate/questions", QUESTIONS | {"max_new_tokens": 8}),
        ("infer/generate", {"prompt": LONG, "max_new_tokens": 8}),
        ("infer/score", {"prompt": LONG, "target": " great"}),
        ("infer/classify", {"prompt": LONG, "labels": [" great", " small"]}),
    ],
)
def test_what_can_never_fit_the_memory_loads_no_weights(tiny_model, path, fields):
    entry = tiny_model("gemma")
    tight = ModelPool(MemoryBudget(size_of(entry) + 120_000))
    with pytest.raises(RequestTooLarge):
        carried_out(entry, tight, path, fields)
    assert tight.resident() == []


def test_weights_that_do_not_fit_are_what_is_refused_and_not_the_row(tiny_model):
    entry = tiny_model("gemma")
    with pytest.raises(ModelTooLarge):
        carried_out(
            entry, ModelPool(MemoryBudget(size_of(entry) // 2)), "infer/score", {"prompt": LONG, "target": " a"}
        )


def test_a_generated_target_that_is_the_foil_is_refused_by_the_model_but_not_by_its_estimate(tiny_model, monkeypatch):
    """What a dry run generates is a placeholder: it may be the foil by chance."""
    entry, pool = tiny_model("llama"), ModelPool()
    monkeypatch.setattr("explaind_worker.attribution.query.greedy", lambda *_, **__: [5])
    fields = {"prompt": "The food", "foil": {"token_ids": [5]}}
    with pytest.raises(InvalidTarget, match="same tokens"):
        carried_out(entry, pool, "explain/feature-ablation", fields)
    carried_out(entry, pool, "estimate/explain/feature-ablation", fields)


def test_a_given_target_that_never_parts_from_the_foil_is_refused_by_the_estimate_too(tiny_model):
    fields = {"prompt": "The food", "target": " was", "foil": " was"}
    for path in ("explain/logit-lens", "estimate/explain/logit-lens"):
        with pytest.raises(InvalidRequest, match="do not part"):
            carried_out(tiny_model("llama"), ModelPool(), path, fields)
