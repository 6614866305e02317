"""captum-backed methods against captum run one at a time over plain forwards, with the same seed."""

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation, KernelShap, Lime, Occlusion, ShapleyValueSampling

from explaind.contract.errors import BudgetTooSmall, InvalidRequest, RequestTooLarge
from tests.support.reference_game import PlainGame

PROMPT = "Once upon a time Mary gave"
TARGET = " a drink to"
MANY_UNITS = {"prompt": "Mary gave a " * 28, "units": "token"}
CASES = [("gpt2", "mask"), ("llama", "remove"), ("gemma2", {"text": "something"})]
ASKED = {
    "shapley-sampling": {"n_samples": 7, "seed": 3},
    "kernel-shap": {"n_samples": 40, "seed": 3},
    "lime": {"n_samples": 40, "seed": 3, "kernel_width": 0.7},
    "occlusion": {"window": 3, "stride": 2},
    "feature-ablation": {},
}


def by_captum(method, game):
    ones = torch.ones(1, game.units)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        if method == "shapley-sampling":
            return ShapleyValueSampling(game.forward).attribute(ones, n_samples=7)
        if method == "kernel-shap":
            return KernelShap(game.forward).attribute(ones, n_samples=40)
        if method == "lime":
            from captum.attr._core.lime import get_exp_kernel_similarity_function

            near = get_exp_kernel_similarity_function("cosine", kernel_width=0.7)
            return Lime(game.forward, similarity_func=near).attribute(ones, n_samples=40)
        if method == "occlusion":
            return Occlusion(game.forward).attribute(ones, sliding_window_shapes=(3,), strides=2)
        return FeatureAblation(game.forward).attribute(ones)


@pytest.mark.parametrize("method", ASKED)
@pytest.mark.parametrize(("family", "baseline"), CASES, ids=[family for family, _ in CASES])
def test_equals_captum_one_at_a_time(loaded, run, tiny_model, method, family, baseline):
    from explaind.contract.blocks.attribution import PerturbationRequest

    parsed = PerturbationRequest.model_validate({"model": "m", "prompt": "x", "baseline": baseline}).baseline
    expected = by_captum(method, PlainGame(loaded(family), PROMPT, TARGET, parsed))[0].numpy()
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    result = run(
        f"explain/{method}", entry=tiny_model(family), prompt=PROMPT, target=TARGET, baseline=baseline, **ASKED[method]
    )
    np.testing.assert_allclose(result.values, expected, atol=1e-3)
    np.testing.assert_allclose(np.sum(result.values_by_target, axis=1), result.values, atol=1e-9)
    assert np.shape(result.values_by_target) == (len(result.units), len(result.target.tokens))
    assert result.standard_errors is None
    assert torch.equal(torch.get_rng_state(), before[0]), "the process's random numbers must not move"
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])


@pytest.mark.parametrize("method", ["shapley-sampling", "kernel-shap", "lime"])
def test_a_seed_means_the_same_numbers_and_another_does_not(run, method):
    asked = {"prompt": PROMPT, "target": TARGET, "n_samples": 20}
    first, again, other = (run(f"explain/{method}", **asked, seed=seed).values for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("method", ["shapley-sampling", "kernel-shap"])
def test_shapley_methods_are_complete_and_converge(run, method):
    exact = run("explain/shap", prompt=PROMPT, target=TARGET, algorithm="exact")
    found = run(f"explain/{method}", prompt=PROMPT, target=TARGET, n_samples=3000 if method == "kernel-shap" else 500)
    assert abs(found.completeness_gap) < 2e-3
    np.testing.assert_allclose(found.values, exact.values, atol=0.25)


def test_lime_columns_are_the_regression_where_nothing_is_penalised(run):
    both = run("explain/lime", prompt=PROMPT, target=" a drink", n_samples=200, alpha=0.0)
    alone = run("explain/lime", prompt=PROMPT, target=" a", n_samples=200, alpha=0.0)
    columns = np.array(both.values_by_target)
    np.testing.assert_allclose(columns[:, 0], alone.values, atol=1e-3)


def test_limes_penalty_drops_units(run):
    free = run("explain/lime", prompt=PROMPT, target=TARGET, alpha=0.0)
    sparse = run("explain/lime", prompt=PROMPT, target=TARGET, alpha=1.0)
    dropped = np.array(sparse.values) == 0
    assert dropped.any()
    assert not (np.array(free.values) == 0).any()
    assert not np.array(sparse.values_by_target)[dropped].any()


def test_a_window_of_one_is_feature_ablation_and_of_all_the_whole(run):
    one = run("explain/occlusion", prompt=PROMPT, target=TARGET, window=1)
    ablated = run("explain/feature-ablation", prompt=PROMPT, target=TARGET)
    np.testing.assert_allclose(one.values, ablated.values, atol=1e-5)
    everything = run("explain/occlusion", prompt=PROMPT, target=TARGET, window=len(one.units))
    np.testing.assert_allclose(everything.values, everything.full_value - everything.base_value, rtol=1e-5)


@pytest.mark.parametrize("method", ["shapley-sampling", "kernel-shap", "lime", "occlusion"])
def test_one_unit(run, method):
    asked = {"window": 1} if method == "occlusion" else {"alpha": 0.0} if method == "lime" else {}
    result = run(f"explain/{method}", prompt="Mary", target=" gave", **asked)
    assert result.values == pytest.approx([result.full_value - result.base_value], abs=1e-4)


@pytest.mark.parametrize(
    ("error", "pointer", "method", "params"),
    [
        (BudgetTooSmall, "/n_samples", "kernel-shap", {"n_samples": 7}),
        (RequestTooLarge, "/n_samples", "kernel-shap", {"n_samples": 100_000} | MANY_UNITS),
        (RequestTooLarge, "/n_samples", "lime", {"n_samples": 100_000} | MANY_UNITS),
        (RequestTooLarge, "/n_samples", "shapley-sampling", {"n_samples": 1000} | MANY_UNITS),
        (InvalidRequest, "/window", "occlusion", {"window": 7}),
        (InvalidRequest, "/kernel_width", "lime", {"kernel_width": 1e-3, "n_samples": 5, "distance": "euclidean"}),
    ],
)
def test_refused_before_the_weights_are_loaded(tiny_model, error, pointer, method, params):
    from explaind.contract.registry import find_method
    from explaind_worker.models.pool.pool import ModelPool
    from explaind_worker.runtime.runner import implementation_of
    from explaind_worker.session.session import Session

    found, fresh = find_method(f"explain/{method}"), ModelPool()
    request = found.params_model.model_validate({"model": "m", "prompt": PROMPT, "target": " the", **params})
    with pytest.raises(error) as caught:
        implementation_of(found)(request, Session(tiny_model("llama"), fresh, lambda *_: None))
    assert [e.pointer for e in caught.value.errors] == [pointer]
    assert fresh.resident() == []


def test_a_stride_past_the_window_is_refused():
    from pydantic import ValidationError

    from explaind.contract.methods.explain.occlusion import OcclusionParams

    with pytest.raises(ValidationError, match="uncovered"):
        OcclusionParams(model="m", prompt="x", window=1, stride=2)
