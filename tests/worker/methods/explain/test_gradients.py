"""The gradient methods against captum over plain forwards, one row at a time."""

import warnings

import numpy as np
import pytest
import torch
from captum.attr import DeepLift, GradientShap, InputXGradient, IntegratedGradients, Saliency
from torch import nn

from explaind.contract.errors import GradientsUnavailable, NoBaselineToken, NonFiniteScore, RequestTooLarge
from explaind_worker.engine.gradients import score_gradient as engine
from explaind_worker.models.structure.packed_gradients import GradientCheck
from explaind_worker.session.session import Session
from tests.support.embedding_reference import Embedded

PROMPT = "Once upon a time Mary gave"
TARGET = " a drink to John"
ASKED = {"prompt": PROMPT, "target": TARGET, "units": "token"}
METHODS = ("integrated-gradients", "gradient-shap", "input-x-gradient", "saliency", "deeplift")


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "gemma3_text", "qwen3", "gpt_neox", "phi"])
def test_integrated_gradients_equal_captum_in_float64(loaded, run, tiny_model, family):
    reference = Embedded(loaded(family), PROMPT, TARGET, double=True)
    expected = IntegratedGradients(reference.score).attribute(
        reference.full, reference.base, n_steps=12, method="gausslegendre", internal_batch_size=1
    )
    result = run("explain/integrated-gradients", entry=tiny_model(family), n_steps=12, **ASKED)
    scale = np.abs(result.values).max()
    np.testing.assert_allclose(result.values, reference.of_tokens(expected), atol=2e-4 * scale)
    assert result.full_value == pytest.approx(float(reference.score(reference.full)), abs=1e-4)
    assert result.base_value == pytest.approx(float(reference.score(reference.base)), abs=1e-4)
    assert result.evaluations == 14


@pytest.mark.parametrize("rule", ["riemann_left", "riemann_right", "riemann_middle"])
def test_riemann_sums_are_captums(loaded, run, rule):
    reference = Embedded(loaded("llama"), PROMPT, TARGET)
    expected = IntegratedGradients(reference.score).attribute(
        reference.full, reference.base, n_steps=5, method=rule, internal_batch_size=1
    )
    result = run("explain/integrated-gradients", n_steps=5, quadrature=rule, **ASKED)
    np.testing.assert_allclose(result.values, reference.of_tokens(expected), rtol=2e-3, atol=1e-3)


def test_input_x_gradient_and_saliency_equal_captum(loaded, run):
    reference = Embedded(loaded("llama"), PROMPT, TARGET)
    product = InputXGradient(reference.score).attribute(reference.full.clone().requires_grad_())
    result = run("explain/input-x-gradient", **ASKED)
    np.testing.assert_allclose(result.values, reference.of_tokens(product), rtol=1e-3, atol=1e-4)
    assert result.baseline.choice == "zero"
    slopes = Saliency(reference.score).attribute(reference.full.clone().requires_grad_())
    result = run("explain/saliency", reduce="l1", **ASKED)
    np.testing.assert_allclose(result.values, reference.of_tokens(slopes), rtol=1e-3)
    signed = Saliency(reference.score).attribute(reference.full.clone().requires_grad_(), abs=False)[0, 1:]
    for reduce, expected in (("l2", signed.norm(dim=-1)), ("max", signed.abs().amax(dim=-1))):
        result = run("explain/saliency", reduce=reduce, **ASKED)
        np.testing.assert_allclose(result.values, expected.tolist(), rtol=1e-3)


def test_gradient_shap_tends_to_integrated_gradients_within_its_errors(loaded, run, tiny_model):
    entry = tiny_model("gemma2")
    exact = run("explain/integrated-gradients", entry=entry, **ASKED)
    few, many = (run("explain/gradient-shap", entry=entry, n_samples=n, seed=3, **ASKED) for n in (40, 640))
    distance = np.abs(np.subtract(many.values, exact.values))
    assert (distance < 5 * np.array(many.standard_errors) + 1e-9).all()
    assert 3.0 < np.mean(few.standard_errors) / np.mean(many.standard_errors) < 5.3
    reference = Embedded(loaded("gemma2"), PROMPT, TARGET)
    torch.manual_seed(0)
    np.random.seed(0)
    theirs = GradientShap(reference.score).attribute(reference.full, reference.base, n_samples=60)
    spread = np.array(many.standard_errors) * np.sqrt(640 / 60)
    assert (np.abs(np.subtract(reference.of_tokens(theirs), many.values)) < 5 * spread).all()


def test_noise_moves_gradient_shap_and_keeps_to_its_seed(run):
    still, noisy, again, other = (
        run("explain/gradient-shap", n_samples=12, stdevs=stdev, seed=seed, **ASKED)
        for stdev, seed in ((0.0, 1), (0.1, 1), (0.1, 1), (0.1, 2))
    )
    assert noisy.values == again.values
    assert not np.allclose(noisy.values, still.values)
    assert not np.allclose(noisy.values, other.values)


class Plain(nn.Module):
    """The reference's score as a module, for captum's own DeepLift."""

    def __init__(self, reference: Embedded) -> None:
        super().__init__()
        self.network, self.reference = reference.network, reference

    def forward(self, prompts: torch.Tensor) -> torch.Tensor:
        fed = self.reference._embed(self.reference.target[:-1]).expand(len(prompts), -1, -1)
        logits = self.network(inputs_embeds=torch.cat([prompts, fed], dim=1), use_cache=False).logits
        first = len(self.reference.ids) - 1
        logprobs = logits.log_softmax(-1)
        return torch.stack([logprobs[:, first + i, t] for i, t in enumerate(self.reference.target)]).sum(0)


def test_deeplift_is_captums_where_captum_knows_the_activation(loaded, run, tiny_model):
    model = loaded("gpt2")
    reference = Embedded(model, PROMPT, TARGET)
    before = [block.mlp.act for block in model.anatomy.blocks]
    for block in model.anatomy.blocks:
        block.mlp.act = nn.ReLU()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = DeepLift(Plain(reference)).attribute(
                reference.full.clone().requires_grad_(), reference.base.clone()
            )
        result = run("explain/deeplift", entry=tiny_model("gpt2"), **ASKED)
        slope = run("explain/input-x-gradient", entry=tiny_model("gpt2"), baseline="mask", **ASKED)
    finally:
        for block, activation in zip(model.anatomy.blocks, before, strict=True):
            block.mlp.act = activation
    np.testing.assert_allclose(result.values, reference.of_tokens(expected), rtol=1e-3, atol=1e-3)
    assert not np.allclose(result.values, slope.values, rtol=0.01), "the rule must do something"
    assert result.completeness_gap == pytest.approx(
        result.full_value - result.base_value - sum(result.values), abs=1e-6
    )
    assert "do" in result.notes[0]
    assert not any(hasattr(module, "input") for module in model.network.modules())


def test_deeplift_is_refused_where_an_activation_is_no_module(loaded, run):
    block = loaded("llama").anatomy.blocks[1]
    before, block.mlp.act_fn = block.mlp.act_fn, nn.Identity()
    try:
        with pytest.raises(GradientsUnavailable, match="2 in 3 blocks"):
            run("explain/deeplift", **ASKED)
    finally:
        block.mlp.act_fn = before


def test_the_gap_closes_as_steps_grow(run, tiny_model):
    entry = tiny_model("gemma2")
    gaps = [
        abs(run("explain/integrated-gradients", entry=entry, n_steps=n, **ASKED).completeness_gap) for n in (2, 8, 40)
    ]
    assert gaps[0] > 5 * gaps[1] > 500 * gaps[2]
    assert gaps[2] < 1e-4


def test_another_target_has_other_values(run):
    one = run("explain/integrated-gradients", n_steps=8, **ASKED)
    other = run("explain/integrated-gradients", n_steps=8, **(ASKED | {"target": " to drink John a"}))
    assert not np.allclose(one.values, other.values, rtol=0.1)


@pytest.mark.parametrize("method", METHODS)
def test_target_tokens_apart(run, method):
    asked = ASKED | {"foil": " the store", "target": " a drink"}
    whole = run(f"explain/{method}", **asked)
    apart = run(f"explain/{method}", per_target=True, **asked)
    columns = np.array(apart.values_by_target)
    assert columns.shape == (len(apart.units), len(apart.target.tokens) + len(apart.foil.tokens))
    np.testing.assert_allclose(columns.sum(axis=1), apart.values, atol=1e-9)
    assert np.array(whole.values_by_target).shape == (len(whole.units), 1)
    if method == "saliency":
        assert (np.array(apart.values) > np.array(whole.values)).all(), "sizes of parts exceed the size of the whole"
    else:
        np.testing.assert_allclose(apart.values, whole.values, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("score", ["logprob", "logit", "prob"])
@pytest.mark.parametrize(
    "target",
    [
        {"labels": [" a", " the", " Mary"], "explain": " the"},
        {"labels": [" a drink to", " the", " Mary gave"], "explain": " Mary gave"},
        {"token_ids": [300, 301]},
        {"generate": {"max_new_tokens": 3}},
        None,
    ],
    ids=["first tokens", "whole labels", "ids", "generated", "next"],
)
def test_every_target_and_score_is_complete(run, tiny_model, target, score):
    entry = tiny_model("gemma2")
    result = run("explain/integrated-gradients", entry=entry, prompt=PROMPT, target=target, score=score, n_steps=40)
    shapley = run("explain/feature-ablation", entry=entry, prompt=PROMPT, target=target, score=score)
    assert result.full_value == pytest.approx(shapley.full_value, abs=1e-4)
    assert result.base_value == pytest.approx(shapley.base_value, abs=1e-4)
    assert abs(result.completeness_gap) < 2e-3 * max(1.0, abs(result.full_value - result.base_value))


def test_units_are_sums_of_their_tokens_and_the_rest_stays(run):
    tokens = run("explain/integrated-gradients", n_steps=30, **ASKED)
    words = run("explain/integrated-gradients", n_steps=30, **(ASKED | {"units": "word"}))
    start = 0  # a token of nothing but space goes with the word after it
    for word, value in zip(words.units, words.values, strict=True):
        inside = [v for u, v in zip(tokens.units, tokens.values, strict=True) if start <= u.start < word.end]
        assert value == pytest.approx(sum(inside), abs=1e-3)
        start = word.end
    part = ASKED | {"units": {"segments": [[17, 21, "who"]]}}
    segment = run("explain/integrated-gradients", n_steps=200, **part)
    ablated = run("explain/feature-ablation", **part)
    assert segment.base_value == pytest.approx(ablated.base_value, abs=1e-4), "text outside the segment stays as it is"
    assert segment.values[0] == pytest.approx(ablated.values[0], abs=0.05)


def test_baselines(run, tiny_model):
    entry = tiny_model("gpt2")
    known = {name: run("explain/saliency", entry=entry, baseline=name, **ASKED) for name in ("mask", "pad", "zero")}
    assert [r.baseline.token_ids for r in known.values()] == [[3], [0], []]
    assert len({r.base_value for r in known.values()}) == 3
    assert known["mask"].values == known["zero"].values, "saliency has no use for a baseline"
    text = run("explain/input-x-gradient", baseline={"text": " Mary"}, **ASKED)
    assert text.baseline.text == " Mary"
    with pytest.raises(NoBaselineToken) as caught:
        run("explain/input-x-gradient", baseline={"text": " nothing whatever"}, **ASKED)
    assert [e.pointer for e in caught.value.errors] == ["/baseline/text"]


def test_values_do_not_depend_on_the_batch(monkeypatch, run):
    asked = ASKED | {"n_samples": 17, "stdevs": 0.05}
    whole = run("explain/gradient-shap", **asked)
    monkeypatch.setattr(engine, "CPU_TOKENS", 1)
    single = run("explain/gradient-shap", **asked)
    np.testing.assert_allclose(single.values, whole.values, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(single.standard_errors, whole.standard_errors, rtol=1e-3, atol=1e-3)


def test_running_out_of_memory_halves_the_batch(monkeypatch, pool, tiny_model, run):
    whole = run("explain/integrated-gradients", n_steps=16, **ASKED)
    plain, seen = engine._gradient, []

    def cramped(output, leaf, *, keep):
        seen.append(len(leaf))
        if len(leaf) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return plain(output, leaf, keep=keep)

    monkeypatch.setattr(engine, "_gradient", cramped)
    halved = run("explain/integrated-gradients", n_steps=16, **ASKED)
    assert max(seen) == 16
    assert seen.count(2) >= 7
    np.testing.assert_allclose(halved.values, whole.values, rtol=1e-3, atol=1e-3)


def test_what_does_not_fit_is_refused_before_a_forward(monkeypatch, run):
    monkeypatch.setattr("explaind_worker.models.pool.lease.ModelPin.most_room", property(lambda _self: 1000))
    with pytest.raises(RequestTooLarge, match="gradient of 2 rows"):
        run("explain/saliency", **(ASKED | {"foil": " the store"}))


def test_half_precision_comes_close(run, tiny_model):
    whole = run("explain/integrated-gradients", entry=tiny_model("gemma2"), **ASKED)
    half = run("explain/integrated-gradients", entry=tiny_model("gemma2", dtype="bfloat16"), **ASKED)
    assert np.corrcoef(whole.values, half.values)[0, 1] > 0.98
    assert abs(half.completeness_gap) < 0.3


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_quantized_models_say_what_their_gradients_are(run, tiny_model, quantization):
    entry = tiny_model("gemma2", quantization=quantization)
    result = run("explain/integrated-gradients", entry=entry, n_steps=20, **ASKED)
    assert ("4 bits" if quantization == "nf4" else "8-bit") in result.notes[0]
    difference = abs(result.full_value - result.base_value)
    assert abs(result.completeness_gap) < (1e-3 if quantization == "nf4" else 0.5) * max(1.0, difference)


@pytest.mark.parametrize("method", METHODS)
def test_weights_whose_gradients_are_wrong_are_refused_before_a_forward(run, pool, tiny_model, method, monkeypatch):
    entry = tiny_model("llama", quantization="nf4")
    with pool.pin(entry) as model:
        monkeypatch.setattr(model, "gradients", GradientCheck("model.layers.0.mlp.up_proj", 0.98))
        monkeypatch.setattr(model.network, "forward", None)
        with pytest.raises(GradientsUnavailable, match=r"up_proj are off by 98% of their size") as caught:
            run(f"explain/{method}", entry=entry, **ASKED)
    assert "feature-ablation" in (caught.value.hint or "")


def test_a_layer_without_a_backward_pass_is_an_error(loaded, run):
    handle = loaded("llama").anatomy.unembedding.register_forward_pre_hook(lambda _m, args: (args[0].detach(),))
    try:
        with pytest.raises(GradientsUnavailable):
            run("explain/saliency", **ASKED)
    finally:
        handle.remove()


def test_a_gradient_of_nan_fails_the_job(loaded, run):
    handle = loaded("llama").anatomy.unembedding.register_forward_hook(lambda _m, _a, output: output * float("nan"))
    try:
        with pytest.raises(NonFiniteScore):
            run("explain/saliency", **ASKED)
    finally:
        handle.remove()


def test_progress_is_told_and_a_cancel_stops_between_batches(monkeypatch, pool, tiny_model):
    from explaind.contract.registry import find_method
    from explaind_worker.runtime.runner import implementation_of

    class Stopped(Exception):
        pass

    told = []

    def report_progress(phase, done, total, unit):
        told.append((phase, done, total, unit))
        if done >= 4:
            raise Stopped

    monkeypatch.setattr(engine, "CPU_TOKENS", 40)
    method, entry = find_method("explain/integrated-gradients"), tiny_model("llama")
    request = method.params_model.model_validate({"model": "m", "n_steps": 10, **ASKED})
    with Session(entry, pool, report_progress) as session, pytest.raises(Stopped):
        implementation_of(method)(request, session)
    assert told[-1] == ("computing gradients", 4, 10, "points")
    assert session.job.meter.forwards < 10


def test_a_span_of_the_target_is_explained_given_what_stands_before_it(loaded, run):
    """log p(to John | … a drink) alone, as the difference of two whole targets."""
    whole = run("explain/integrated-gradients", n_steps=6, per_target=True, **ASKED)
    span = run(
        "explain/integrated-gradients",
        n_steps=6,
        per_target=True,
        **ASKED | {"target": {"text": TARGET, "span_text": " to John"}},
    )
    first, end = span.target.explained
    np.testing.assert_allclose(span.values_by_target, np.array(whole.values_by_target)[:, first:end], atol=1e-5)
    assert 0 < first < end == len(whole.target.tokens)
    assert span.full_value == pytest.approx(sum(token.logprob for token in span.target.explained_tokens), abs=1e-4)
