"""What an estimate says, against what then happens."""

from typing import Any, cast

import pytest

from explaind.contract.errors import BudgetTooSmall, InvalidTarget, PromptTooLong, RequestTooLarge, TargetTooLong
from explaind.contract.estimate import Estimate
from explaind.contract.registry import find_method
from explaind_jobs.catalogue import ModelEntry
from explaind_jobs.files.file_store import Files
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.models.loading.loading import size_of
from explaind_worker.models.pool.memory_budget import MemoryBudget
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.runtime.runner import implementation_of
from explaind_worker.session.estimate import record_measurement
from explaind_worker.session.session import Session
from tests.support.families import ALL, families
from tests.support.memory_files import KeptFiles

DEMO = ModelEntry(name="demo", builtin=True)
REVIEW = {"prompt": "Review: The food was great. Sentiment:", "target": " positive", "foil": " negative"}
STORY = {"prompt": "When Mary and John went to the store, John gave a drink to", "target": " Mary"}


def carried_out(pool: ModelPool, entry: ModelEntry, path: str, params: dict[str, Any]) -> tuple[Any, CostMeter]:
    method = find_method(path)
    request = method.params_model.model_validate({**params, "model": entry.name})
    with Session(entry, pool, lambda *_: None, files=cast("Files", KeptFiles())) as session:
        result = implementation_of(method)(request, session)
        record_measurement(session)
        return result, session.job.meter


def estimated(pool: ModelPool, entry: ModelEntry, path: str, params: dict[str, Any]) -> Estimate:
    found, meter = carried_out(pool, entry, f"estimate/{path}", params)
    assert isinstance(found, Estimate)
    assert meter == CostMeter(), "an estimate costs no forward"
    return found


@pytest.fixture(scope="module")
def demo() -> ModelPool:
    return ModelPool()


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("explain/shap", {**REVIEW, "algorithm": "exact"}),
        ("explain/shap", {**STORY, "algorithm": "kernel", "budget": 128}),
        ("explain/shap", {**STORY, "algorithm": "permutation", "budget": 300, "baseline": "remove"}),
        (
            "explain/shap",
            {**REVIEW, "foil": None, "target": {"labels": [" positive", " negative"], "explain": " positive"}},
        ),
        ("explain/feature-ablation", {**STORY, "baseline": {"text": " something else"}}),
        ("explain/kernel-shap", {**STORY, "n_samples": 40}),
        ("explain/integrated-gradients", {**STORY, "n_steps": 20}),
        ("explain/saliency", {**STORY, "per_target": True}),
    ],
)
def test_what_is_counted_is_what_happens(demo, path, params):
    said = estimated(demo, DEMO, path, params)
    result, meter = carried_out(demo, DEMO, path, params)
    assert said.evaluations == result.evaluations
    told = (said.forwards, said.tokens_evaluated, said.tokens_saved)
    assert told == (meter.forwards, meter.tokens_evaluated, meter.tokens_saved)
    assert said.fits
    assert said.note is None
    assert 0 < said.peak_bytes < said.free_bytes


@pytest.mark.parametrize("path", ["explain/shap", "explain/integrated-gradients", "infer/classify"])
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_classifiers_are_counted_too(pool, tiny_classifier, family, path):
    entry = tiny_classifier(family)
    params = {"prompt": "The food was great"} | ({"target": {"class": 1}} if path.startswith("explain") else {})
    said = estimated(pool, entry, path, params)
    _, meter = carried_out(pool, entry, path, params)
    told = (said.forwards, said.tokens_evaluated, said.tokens_saved)
    assert told == (meter.forwards, meter.tokens_evaluated, meter.tokens_saved)


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("infer/generate", {"prompt": "47 + 38 =", "max_new_tokens": 1}),
        ("infer/score", {"prompt": "3 + 4 =", "target": " 7"}),
        ("infer/score", {**STORY, "prompt_logprobs": True, "top_logprobs": 3}),
        ("infer/tokenize", {"prompt": "3 + 4 ="}),
        ("explain/logit-lens", STORY),
        ("explain/logit-lens", {**STORY, "target": None, "last": 3, "streams": ["resid_post"]}),
    ],
)
def test_inference_is_told_exactly(demo, path, params):
    said = estimated(demo, DEMO, path, params)
    _, meter = carried_out(demo, DEMO, path, params)
    told = (said.forwards, said.tokens_evaluated, said.tokens_saved)
    assert told == (meter.forwards, meter.tokens_evaluated, meter.tokens_saved)


@pytest.mark.parametrize("family", ALL)
def test_a_generation_is_as_long_as_it_may_be(tiny_model, pool, family):
    params = {"prompt": "The food was", "max_new_tokens": 6}
    said = estimated(pool, tiny_model(family), "infer/generate", params)
    result, meter = carried_out(pool, tiny_model(family), "infer/generate", params)
    assert said.forwards == 6
    if result.finish_reason == "length":
        assert (said.forwards, said.tokens_evaluated) == (meter.forwards, meter.tokens_evaluated)
    assert "may end before" in (said.note or "")


@pytest.mark.parametrize("family", families("sliding"))
@pytest.mark.parametrize("baseline", ["mask", "remove"])
def test_dense_batches_are_counted_with_their_padding(tiny_model, pool, family, baseline):
    entry, params = tiny_model(family), {"prompt": "The food was great", "target": " but", "baseline": baseline}
    said = estimated(pool, entry, "explain/shap", params)
    _, meter = carried_out(pool, entry, "explain/shap", params)
    assert (said.forwards, said.tokens_evaluated) == (meter.forwards, meter.tokens_evaluated)
    assert said.tokens_saved == meter.tokens_saved


def test_a_target_that_is_still_to_be_said_is_made_up(demo):
    for target in (None, {"generate": {"max_new_tokens": 4}}):
        params = {"prompt": STORY["prompt"], "target": target, "foil": {"token_ids": [0]}}
        said = estimated(demo, DEMO, "explain/feature-ablation", params)
        _, meter = carried_out(demo, DEMO, "explain/feature-ablation", params)
        assert said.tokens_evaluated > 0
        assert said.forwards >= 2, "one of them says the target"
        if target is None:
            assert meter.tokens_evaluated / 2 < said.tokens_evaluated <= meter.tokens_evaluated


@pytest.mark.parametrize(
    ("error", "path", "params"),
    [
        (BudgetTooSmall, "explain/shap", {**STORY, "algorithm": "kernel", "budget": 5}),
        (InvalidTarget, "explain/shap", {**STORY, "foil": " Mary"}),
        (PromptTooLong, "infer/score", {**STORY, "prompt": "food " * 3000}),
        (TargetTooLong, "infer/generate", {"prompt": "3 + 4 =", "max_new_tokens": 1000}),
    ],
)
def test_what_the_method_refuses_its_estimate_refuses(demo, error, path, params):
    refusals = []
    for asked in (path, f"estimate/{path}"):
        with pytest.raises(error) as caught:
            carried_out(demo, DEMO, asked, params)
        refusals.append(caught.value.problem().model_dump())
    assert refusals[0] == refusals[1]


def test_what_can_never_fit_is_an_answer(tiny_model):
    entry = tiny_model("gemma")
    params = {"prompt": "food " * 54, "target": " great"}
    tight = ModelPool(MemoryBudget(size_of(entry) + 120_000))
    said = estimated(tight, entry, "explain/shap", params)
    assert not said.fits
    assert said.peak_bytes > said.free_bytes
    assert "One row needs" in (said.note or "")
    with pytest.raises(RequestTooLarge):
        carried_out(tight, entry, "explain/shap", params)
    assert estimated(tight, entry, "explain/shap", {**params, "prompt": "food"}).fits
    small = ModelPool(MemoryBudget(size_of(entry) // 2))
    said = estimated(small, entry, "explain/shap", params)
    assert not said.fits
    assert "The weights" in (said.note or "")
    assert estimated(small, entry, "infer/tokenize", {"prompt": "food"}).fits, "which needs none"


def test_a_tight_budget_means_more_forwards(tiny_model):
    entry, params = tiny_model("mistral"), {"prompt": "The food was great but the room", "target": " was"}
    roomy, tight = ModelPool(), ModelPool(MemoryBudget(size_of(entry) + 400_000))
    few, many = (estimated(pool, entry, "explain/shap", params) for pool in (roomy, tight))
    assert many.forwards > few.forwards
    assert many.peak_bytes <= 400_000 < few.peak_bytes
    _, meter = carried_out(tight, entry, "explain/shap", params)
    assert many.forwards == meter.forwards


def test_it_goes_by_what_is_known_of_the_model(tiny_model):
    entry, pool = tiny_model("gpt2"), ModelPool()
    params = {"prompt": "The food was", "target": " great"}
    assert estimated(pool, entry, "infer/score", params).basis == "assumed"
    carried_out(pool, entry, "infer/score", params)
    said = estimated(pool, entry, "infer/score", params)
    assert said.basis == "calibrated", "the job that loaded the model teaches nothing"
    assert said.load_s == 0.0
    carried_out(pool, entry, "infer/score", params)
    assert estimated(pool, entry, "infer/score", params).basis == "measured"


def test_a_model_that_has_left_is_known_still(tiny_model):
    entry, other, params = tiny_model("gpt2"), tiny_model("llama"), {"prompt": "The food was", "target": " great"}
    pool = ModelPool(MemoryBudget(int(1.5 * max(size_of(entry), size_of(other)))))
    for _ in range(2):
        carried_out(pool, entry, "infer/score", params)
    pool.model(other)
    assert pool.resident() == ["tiny-llama"]
    said = estimated(pool, entry, "infer/score", params)
    assert said.basis == "measured"
    assert said.load_s is not None
    assert said.load_s > 0
    assert said.fits
