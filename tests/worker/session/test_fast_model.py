"""`precision: "fast"`: what is used is what is said, and where nothing is faster the answer is that of `full`."""

import numpy as np
import pytest
import torch

from explaind.contract.blocks.subject import PromptRequest
from explaind.contract.errors import RequestTooLarge
from explaind.contract.estimate import Estimate
from explaind.contract.registry import find_method
from explaind_jobs.catalogue import Catalogue
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.records import Claim
from explaind_worker.engine.batching import matmul_precision
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.matmul_precision import Gain
from explaind_worker.engine.scoring import value_function as engine_value_function
from explaind_worker.engine.scoring.dense_evaluator import DenseRows
from explaind_worker.engine.scoring.masker import Masker, replacement_for
from explaind_worker.engine.scoring.tree_evaluator import TreeRows
from explaind_worker.engine.scoring.units import units_of
from explaind_worker.engine.scoring.value_function import ValueFunction
from explaind_worker.models.loading.loading import size_of
from explaind_worker.models.pool.memory_budget import MemoryBudget
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.models.structure.narrow_copy import narrow_bytes
from explaind_worker.runtime.runner import Runner, implementation_of
from explaind_worker.session.session import Session
from tests.support.families import REPRESENTATIVES
from tests.support.job_control import QuietControl

SUBJECT = {"prompt": "Once upon a time Mary gave a drink", "target": " to", "budget": 64, "algorithm": "kernel"}
ABLATION = {"prompt": "Once upon a time Mary gave a drink", "target": " to"}


@pytest.fixture
def gains(monkeypatch):
    """`gains(switch=…, copy=…)`: a processor with units for bfloat16 that is so many times faster by each way."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    return lambda **by_way: monkeypatch.setattr(matmul_precision, "measured_gain", lambda *_: Gain(**by_way))


@pytest.fixture
def fast_copies(gains):
    gains(switch=0.0, copy=2.0)


@pytest.mark.parametrize("family", REPRESENTATIVES)
def test_a_copy_answers_up_to_rounding_and_says_so(run, tiny_model, fast_copies, family):
    entry = tiny_model(family)
    exact = run("explain/shap", entry=entry, **SUBJECT)
    fast = run("explain/shap", entry=entry, **SUBJECT, precision="fast")
    assert exact.fast is None
    assert (fast.fast.products, fast.fast.checked) == ("bfloat16", 2)
    (note,) = fast.notes
    assert f"2 coalitions that were evaluated both ways differ by up to {fast.fast.largest_difference:.2g}." in note
    assert 1e-5 < fast.fast.largest_difference < 0.3
    assert np.corrcoef(fast.values, exact.values)[0, 1] > 0.99
    assert fast.values == pytest.approx(exact.values, abs=0.3)
    assert fast.values != exact.values
    assert run("explain/shap", entry=entry, **SUBJECT) == exact, "to the last bit, once a copy was used"


@pytest.mark.parametrize(
    ("by_way", "why"),
    [
        ({"switch": 0.0, "copy": 1.2}, "products of its size in bfloat16 are 1.2 times as fast on this processor"),
        (None, "this processor has no units for bfloat16"),
    ],
)
def test_where_nothing_is_faster_the_answer_is_float32_and_a_note_says_why(run, gains, monkeypatch, by_way, why):
    gains(**(by_way or {"switch": 9.0, "copy": 9.0}))
    if by_way is None:
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    exact, fast = run("explain/shap", **SUBJECT), run("explain/shap", **SUBJECT, precision="fast")
    assert (fast.fast.products, fast.fast.checked, fast.fast.largest_difference) == ("float32", 0, 0.0)
    assert fast.notes == [f'`precision: "fast"` changed nothing: {why}. The products are float32.']
    assert fast.model_copy(update={"fast": None, "notes": []}) == exact


def test_by_the_switch_the_model_itself_answers(run, gains, monkeypatch):
    gains(switch=2.0, copy=2.0)
    asked = []
    for evaluator in ("tree_evaluator", "dense_evaluator"):
        monkeypatch.setattr(
            f"explaind_worker.engine.scoring.{evaluator}.products_in",
            lambda way: asked.append(way) or matmul_precision.products_in(way),
        )
    fast = run("explain/shap", **SUBJECT, precision="fast")
    assert fast.fast.products == "bfloat16"
    assert {None, "switch"} == set(asked), "some coalitions are evaluated both ways"


@pytest.mark.parametrize("path", ["explain/feature-ablation", "explain/kernel-shap", "explain/occlusion"])
def test_every_method_that_perturbs_has_it(run, fast_copies, path):
    fast = run(path, **ABLATION, precision="fast")
    assert fast.fast.products == "bfloat16"
    assert fast.fast.largest_difference > 0
    assert fast.values == pytest.approx(run(path, **ABLATION).values, abs=0.3)


def test_one_unit_is_checked_by_its_ends(run, fast_copies):
    """Nothing is sampled then."""
    fast = run("explain/kernel-shap", prompt="Once", target=" to", precision="fast", units="sentence")
    assert len(fast.values) == 1
    assert fast.fast.checked == 2


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_classifiers_have_it_too(run, tiny_classifier, fast_copies, family):
    entry = tiny_classifier(family)
    asked = {"prompt": "The food was great but the room was small"}
    exact = run("explain/feature-ablation", entry=entry, **asked)
    fast = run("explain/feature-ablation", entry=entry, **asked, precision="fast")
    assert fast.fast.products == "bfloat16"
    assert 0 < fast.fast.largest_difference < 0.1
    assert fast.values == pytest.approx(exact.values, abs=0.1)


def test_a_comparison_says_it_of_each_method(run, fast_copies):
    found = run(
        "explain/compare-methods", **ABLATION, precision="fast",
        methods=["feature-ablation", "saliency"],
    )  # fmt: skip
    perturbing, by_gradient = found.methods
    assert perturbing.fast.products == "bfloat16"
    assert by_gradient.fast is None


@pytest.mark.parametrize("family", REPRESENTATIVES)
def test_over_a_tree_a_copy_scores_as_in_plain_batches(tiny_model, family, monkeypatch):
    """Its rounding, which differs between the two, is not taken for a wrong answer: it reads what its model reads."""
    pool = ModelPool()
    with (pin := pool.pin(tiny_model(family))) as model:
        copy = pin.narrow_copy(0, while_waiting=lambda: None)
        tried = []
        real = engine_value_function.why_dense
        monkeypatch.setattr(engine_value_function, "why_dense", lambda asked: tried.append(asked) or real(asked))
        encoded = model.encoder.prompt(PromptRequest(model="m", prompt=ABLATION["prompt"]))
        unit_map = units_of(encoded, "word")
        players = Masker(encoded, unit_map, replacement_for("mask", model.encoder, encoded, unit_map))
        coalitions = np.random.default_rng(0).random((24, players.count)) < 0.5
        scores = {}
        for evaluator in (TreeRows, DenseRows):
            monkeypatch.setattr(engine_value_function, "TreeRows", evaluator)
            meter = CostMeter()
            value = ValueFunction(copy, players, [(5, 9, 17)], meter=meter, report_progress=lambda *_: None)
            scores[evaluator] = value(coalitions).logprobs
            assert meter.dense_because is None
        assert len(tried) == 2
        assert all(asked is model for asked in tried)
    np.testing.assert_allclose(scores[TreeRows], scores[DenseRows], atol=0.15)
    assert np.corrcoef(scores[TreeRows].ravel(), scores[DenseRows].ravel())[0, 1] > 0.999


def job(runner: Runner, path: str, **fields):
    method = find_method(path)
    params = method.params_model.model_validate({"model": "demo", **fields})
    return runner.run(Claim("job_a", 1, path, "demo", params.model_dump_json().encode(), 0), QuietControl())


@pytest.fixture
def demo_runner(tiny_model):
    entry = tiny_model("llama").model_copy(update={"name": "demo"})
    return Runner(JobsSettings(), Catalogue({"demo": entry}))


def test_provenance_says_what_was_used(demo_runner, gains):
    gains(switch=0.0, copy=2.0)
    fast = job(demo_runner, "explain/feature-ablation", **ABLATION, precision="fast").provenance
    assert (fast.dtype, fast.products) == ("float32", "bfloat16")
    full = job(demo_runner, "explain/feature-ablation", **ABLATION).provenance
    assert (full.dtype, full.products) == ("float32", None)
    gains(switch=0.0, copy=1.0)
    slow = job(demo_runner, "explain/feature-ablation", **ABLATION, precision="fast").provenance
    assert (slow.dtype, slow.products) == ("float32", None)


def test_a_fast_job_teaches_nothing_about_the_usual_pace(demo_runner, tiny_model, fast_copies):
    job(demo_runner, "explain/feature-ablation", **ABLATION)  # loads the model
    pool, entry = demo_runner._pool, demo_runner._catalogue.find("demo")
    for precision, learnt in [("fast", 0), ("full", 1)]:
        job(demo_runner, "explain/feature-ablation", **ABLATION, precision=precision)
        assert len(pool.measurements(entry)) == learnt


def test_an_estimate_counts_the_copy(demo_runner, gains):
    def told(**fields) -> Estimate:
        outcome = job(demo_runner, "estimate/explain/shap", **SUBJECT, **fields)
        return Estimate.model_validate_json(outcome.result)

    gains(switch=0.0, copy=2.0)
    full, fast = told(), told(precision="fast")
    narrow = 263_424
    assert fast.model_bytes == full.model_bytes + narrow
    assert fast.free_bytes == full.free_bytes - narrow
    assert fast.forwards > full.forwards, "some coalitions are evaluated both ways"
    took = job(demo_runner, "explain/shap", **SUBJECT, precision="fast").timing
    assert (fast.forwards, fast.tokens_evaluated) == (took.forwards, took.tokens_evaluated)
    again = told(precision="fast")
    assert again.model_bytes == fast.model_bytes
    assert again.free_bytes == pytest.approx(fast.free_bytes, abs=full.model_bytes), "the copy is not taken off twice"
    assert again.free_bytes > fast.free_bytes - narrow
    gains(switch=0.0, copy=1.0)
    assert told(precision="fast").model_bytes == full.model_bytes


def test_without_room_for_a_copy_the_answer_is_float32(tiny_model, run, fast_copies):
    entry = tiny_model("llama")
    pool = ModelPool(MemoryBudget(int((size_of(entry) + 100_000) / 0.9)))
    runner = Runner(JobsSettings(), Catalogue({"demo": entry.model_copy(update={"name": "demo"})}))
    runner._pool = pool
    outcome = job(runner, "explain/shap", **SUBJECT, precision="fast")
    fast = find_method("explain/shap").result.model_validate_json(outcome.result)
    assert fast.notes == [
        '`precision: "fast"` changed nothing: there is no memory for a copy of its weights in bfloat16 (263.4 kB). '
        "The products are float32."
    ]
    assert fast.values == pytest.approx(run("explain/shap", **SUBJECT).values, abs=1e-4)
    assert outcome.provenance.products is None


@pytest.mark.parametrize("path", ["explain/shap", "explain/feature-ablation", "explain/lime"])
def test_what_cannot_fit_is_refused_before_weights_are_loaded(tiny_model, fast_copies, path, monkeypatch):
    entry = tiny_model("gemma")
    tight = ModelPool(MemoryBudget(size_of(entry) + 120_000))
    monkeypatch.setattr(tight, "pin", lambda *_, **__: pytest.fail("the weights were loaded"))
    method = find_method(path)
    asked = {"prompt": "food " * 54, "target": " great", "precision": "fast"}
    params = method.params_model.model_validate({"model": entry.name, **asked})
    with Session(entry, tight, lambda *_: None) as session, pytest.raises(RequestTooLarge):
        implementation_of(method)(params, session)


def test_the_copys_bytes_are_two_for_each_weight_of_a_linear_layer(loaded):
    network = loaded("llama").network
    matrices = (
        sum(p.numel() for p in network.parameters() if p.dim() == 2) - network.get_input_embeddings().weight.numel()
    )
    assert narrow_bytes(network) == 2 * matrices == 263_424
