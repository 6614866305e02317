"""Contributions to a logit: they add up to it, and are those of a float64 reference with the weights written out."""

import copy
from typing import Any

import numpy as np
import pytest
import torch

from explaind.contract.errors import InvalidTarget, RequestTooLarge, SelfCheckFailed, WrongModelKind
from explaind.contract.methods.explain import logit_attribution as contract
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.engine.activations import direct_logit_attribution
from explaind_worker.methods.explain import logit_attribution
from explaind_worker.models.loading.loaded import LoadedModel
from tests.support.families import ALL

PATH = "explain/logit-attribution"
PROMPT = "Mary and John went to the store"
DEMO = ModelEntry(name="demo", builtin=True)


def own_logits(model: LoadedModel, prompt: tuple[int, ...], target: tuple[int, ...]) -> list[float]:
    """The model's logit of each token of the target, by its plain forward."""
    with torch.inference_mode():
        logits = model.network(input_ids=torch.tensor([[*prompt, *target[:-1]]])).logits[0].double()
    return [float(logits[len(prompt) - 1 + place, token]) for place, token in enumerate(target)]


def asked(model: LoadedModel, prompt: str, target: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    params = contract.LogitAttributionParams(model="tiny", prompt=prompt)
    encoded = model.encoder.prompt(params)
    return encoded.token_ids, model.encoder.continuation(encoded, target)


@pytest.mark.parametrize("prompt", [PROMPT, "Every"])
@pytest.mark.parametrize("family", ALL)
def test_the_sum_is_the_models_own_logit(run, loaded, tiny_model, family, prompt):
    model = loaded(family)
    result = run(PATH, entry=tiny_model(family), prompt=prompt, target=" gave a drink")
    logits = own_logits(model, *asked(model, prompt, " gave a drink"))
    assert len(result.by_target) == len(logits) > 1
    cap = model.anatomy.logit_softcap
    for column, logit in zip(result.by_target, logits, strict=True):
        total = sum(c.value for c in column.components)
        said = cap * np.tanh(total / cap) if cap else total
        assert said == pytest.approx(logit, abs=2e-4)
        assert (column.capped_logit is None) == (cap is None)
        assert column.gap == pytest.approx(column.logit - total, abs=1e-9)
        assert column.accumulated[-1] == pytest.approx(total, abs=1e-9)
    for name in ("embed", "bias", "logit", "gap"):
        assert getattr(result, name) == pytest.approx(sum(getattr(column, name) for column in result.by_target))
    np.testing.assert_allclose(result.heads, np.sum([column.heads for column in result.by_target], axis=0))
    assert (result.pos_embed is not None) == (family == "gpt2")
    has_bias = getattr(model.anatomy.blocks[0].output_projection, "bias", None) is not None
    assert has_bias or not any(result.attention_bias)


def shown(network: Any, modules: dict[str, torch.nn.Module], ids: list[int]) -> dict[str, torch.Tensor]:
    """What enters ("… in") and leaves each module at the last place."""
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Any:
        def hook(_module: Any, args: Any, kwargs: Any, output: Any) -> None:
            entering = args[0] if args else kwargs["hidden_states"]
            seen[f"{name} in"] = entering[0, -1] if entering.dim() > 2 else entering
            seen[name] = (output if isinstance(output, torch.Tensor) else output[0])[0, -1]

        return hook

    handles = [module.register_forward_hook(keep(name), with_kwargs=True) for name, module in modules.items()]
    with torch.no_grad():
        seen["logits"] = network(input_ids=torch.tensor([ids])).logits[0, -1]
    for handle in handles:
        handle.remove()
    return seen


def gpt2_reference(model: LoadedModel, ids: list[int], token: int) -> dict[str, Any]:
    """Elhage et al. with LayerNorm's centring and scale, in float64 and with the weights' slices."""
    network = copy.deepcopy(model.network).double()
    base = network.transformer
    modules = {"wte": base.wte, "wpe": base.wpe, "final": base.ln_f}
    for layer, block in enumerate(base.h):
        modules |= {f"proj{layer}": block.attn.c_proj, f"mlp{layer}": block.mlp}
    seen = shown(network, modules, ids)
    x = seen["final in"]
    sigma = (x.var(unbiased=False) + base.ln_f.eps).sqrt()
    reading = network.lm_head.weight[token] * base.ln_f.weight
    direction = (reading - reading.mean()) / sigma
    heads, biases = [], []
    for layer, block in enumerate(base.h):
        z = seen[f"proj{layer} in"].view(4, 16)
        matrix = block.attn.c_proj.weight.view(4, 16, 64)
        heads.append([float(z[h] @ matrix[h] @ direction) for h in range(4)])
        biases.append(float(block.attn.c_proj.bias @ direction))
    return {
        "embed": float(seen["wte"] @ direction),
        "pos_embed": float(seen["wpe"] @ direction),
        "heads": heads,
        "attention_bias": biases,
        "mlp_out": [float(seen[f"mlp{layer}"] @ direction) for layer in range(3)],
        "bias": float(network.lm_head.weight[token] @ base.ln_f.bias),
        "logit": float(seen["logits"][token]),
    }


def llama_reference(model: LoadedModel, ids: list[int], token: int, *, gemma: bool = False) -> dict[str, Any]:
    """The same with RMSNorm; of Gemma 2 with (1 + gamma) and the norm behind the attention held."""
    network = copy.deepcopy(model.network).double()
    base = network.model
    modules = {"final": base.norm, "first": base.layers[0]}
    for layer, block in enumerate(base.layers):
        modules[f"proj{layer}"] = block.self_attn.o_proj
        modules[f"mlp{layer}"] = block.post_feedforward_layernorm if gemma else block.mlp
    seen = shown(network, modules, ids)

    def gain(norm: Any) -> torch.Tensor:
        return 1.0 + norm.weight if gemma else norm.weight

    def scale(norm: Any, x: torch.Tensor) -> torch.Tensor:
        return 1.0 / (x.square().mean() + (norm.eps if gemma else norm.variance_epsilon)).sqrt()

    direction = network.lm_head.weight[token] * gain(base.norm) * scale(base.norm, seen["final in"])
    count, width = model.anatomy.heads, model.anatomy.head_dim
    heads = []
    for layer, block in enumerate(base.layers):
        z = seen[f"proj{layer} in"].view(count, width)
        matrix = block.self_attn.o_proj.weight.T.view(count, width, 64)
        before = direction
        if gemma:
            norm = block.post_attention_layernorm
            before = direction * gain(norm) * scale(norm, seen[f"proj{layer}"])
        heads.append([float(z[h] @ matrix[h] @ before) for h in range(count)])
    return {
        "embed": float(seen["first in"] @ direction),
        "pos_embed": None,
        "heads": heads,
        "attention_bias": [0.0] * 3,
        "mlp_out": [float(seen[f"mlp{layer}"] @ direction) for layer in range(3)],
        "bias": 0.0,
    }


REFERENCES = {
    "gpt2": gpt2_reference,
    "llama": llama_reference,
    "gemma2": lambda *args: llama_reference(*args, gemma=True),
}


@pytest.fixture
def biased(loaded):
    """GPT-2 with biases behind its heads; as they are made they are zeros."""
    biases = [block.output_projection.bias for block in loaded("gpt2").anatomy.blocks]
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for bias in biases:
            bias.copy_(0.3 * torch.randn(bias.shape, generator=random))
    yield
    with torch.no_grad():
        for bias in biases:
            bias.zero_()


@pytest.mark.usefixtures("biased")
@pytest.mark.parametrize("family", REFERENCES)
def test_every_part_is_that_of_a_float64_reference(run, loaded, tiny_model, family):
    model = loaded(family)
    prompt, target = asked(model, PROMPT, " John")
    expected = REFERENCES[family](model, list(prompt), target[0])
    result = run(PATH, entry=tiny_model(family), prompt=PROMPT, target={"token_ids": [target[0]]})
    for name, value in expected.items():
        if value is None:
            assert getattr(result, name) is None
        else:
            np.testing.assert_allclose(getattr(result, name), value, rtol=1e-4, atol=2e-5, err_msg=name)
    shuffled = np.roll(result.heads, 1, axis=1)
    assert not np.allclose(shuffled, expected["heads"], rtol=0.1, atol=0.01), "another order of heads is told apart"


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_target_minus_foil_is_the_difference(run, tiny_model, family):
    both, target, foil = (
        run(PATH, entry=tiny_model(family), prompt=PROMPT, **asked)
        for asked in (
            {"target": " gave a", "foil": " went"},
            {"target": " gave a"},
            {"target": " went"},
        )
    )
    assert both.logit == pytest.approx(target.logit - foil.logit, abs=1e-5)
    np.testing.assert_allclose(both.heads, np.subtract(target.heads, foil.heads), atol=1e-5)
    np.testing.assert_allclose(both.mlp_out, np.subtract(target.mlp_out, foil.mlp_out), atol=1e-5)
    assert [column.sign for column in both.by_target] == [1] * len(target.by_target) + [-1] * len(foil.by_target)
    assert both.foil.text == " went"


def test_a_span_is_split_alone(run):
    whole, part = (
        run(PATH, prompt=PROMPT, target={"token_ids": [20, 30, 40]} | span) for span in ({}, {"span": [1, 2]})
    )
    assert part.target.explained == (1, 2)
    assert part.logit == pytest.approx(whole.by_target[1].logit)
    np.testing.assert_allclose(part.heads, whole.by_target[1].heads, atol=1e-6)
    assert [token.logprob is None for token in part.target.tokens] == [False, False, True]


def test_the_ranking_names_the_strongest(run):
    result = run(PATH, prompt=PROMPT, top=5)
    assert len(result.ranking) == 5
    sizes = [abs(component.value) for component in result.ranking]
    assert sizes == sorted(sizes, reverse=True)
    best = result.ranking[0]
    assert best.value in {
        "head": [v for row in result.heads for v in row],
        "mlp_out": result.mlp_out,
    }.get(best.kind, [result.embed])
    assert len(result.components) == 1 + 3 * (4 + 2) + 1


def test_bfloat16_adds_up_as_far_as_it_can(run, tiny_model):
    wide, narrow = (
        run(PATH, entry=tiny_model("llama", dtype=dtype).model_copy(update={"name": f"tiny-{dtype}"}), prompt=PROMPT)
        for dtype in ("float32", "bfloat16")
    )
    assert abs(wide.gap) < 1e-4
    size = sum(abs(component.value) for component in narrow.components)
    assert 0 < abs(narrow.gap) < 0.02 * size


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
def test_quantized_projections_are_used_as_they_are(run, tiny_model, quantization):
    entry = tiny_model("llama", quantization=quantization).model_copy(update={"name": f"tiny-{quantization}"})
    result = run(PATH, entry=entry, prompt=PROMPT, target=" gave")
    size = sum(abs(component.value) for component in result.components)
    assert abs(result.gap) < 0.05 * size
    assert any(any(row) for row in result.heads)


def test_an_unembedding_that_hides_its_matrix_is_read_by_its_gradient(run, loaded, monkeypatch):
    model = loaded("llama")
    plain = run(PATH, prompt=PROMPT, target=" gave a")

    class Hidden(torch.nn.Linear):
        pass

    monkeypatch.setattr(model.anatomy.unembedding, "__class__", Hidden)
    hidden = run(PATH, prompt=PROMPT, target=" gave a")
    np.testing.assert_allclose(hidden.heads, plain.heads, rtol=1e-6, atol=1e-8)


def test_very_many_tokens_are_split_in_parts(run, monkeypatch):
    whole = run(PATH, prompt=PROMPT, target=" gave a drink to Mary")
    monkeypatch.setattr(direct_logit_attribution, "KEPT_BYTES", 6000)
    parts = run(PATH, prompt=PROMPT, target=" gave a drink to Mary")
    np.testing.assert_allclose(parts.heads, whole.heads, atol=1e-5)
    assert len(parts.by_target) == len(whole.by_target)


def test_scaled_logits_are_split_as_they_are(run, tiny_model, loaded):
    model = loaded("cohere")
    assert model.anatomy.logit_scale == 0.25
    prompt, target = asked(model, PROMPT, " John")
    result = run(PATH, entry=tiny_model("cohere"), prompt=PROMPT, target=" John")
    assert result.logit == pytest.approx(sum(own_logits(model, prompt, target)), abs=1e-4)
    assert sum(c.value for c in result.components) == pytest.approx(result.logit, abs=1e-4)


def test_contributions_that_do_not_add_up_are_refused(run, monkeypatch):
    """A wrong part (here: of heads that were not told apart) is no answer."""
    heads = direct_logit_attribution._Splitting._heads

    def twice(*args: Any) -> tuple[torch.Tensor, torch.Tensor]:
        found, bias = heads(*args)
        return 2.0 * found, bias

    monkeypatch.setattr(direct_logit_attribution._Splitting, "_heads", twice)
    with pytest.raises(SelfCheckFailed, match="do not add up"):
        run(PATH, prompt=PROMPT)


def test_what_cannot_be_split_is_refused_before_the_weights_are_touched(run, pool, tiny_classifier, monkeypatch):
    with pytest.raises(ValueError, match="normalised over each other"):
        run(PATH, prompt=PROMPT, target={"labels": [" a", " b"], "explain": " a"})
    with pytest.raises(InvalidTarget, match="the same tokens"):
        run(PATH, prompt=PROMPT, target=" gave", foil=" gave")
    with pytest.raises(WrongModelKind):
        run(PATH, entry=tiny_classifier("llama"), prompt=PROMPT)
    monkeypatch.setattr(logit_attribution, "MOST_NUMBERS", 40)
    with pytest.raises(RequestTooLarge, match="their sums alone") as caught:
        run(PATH, prompt=PROMPT, target=" gave a drink")
    assert caught.value.errors[0].pointer == "/by_target"
    assert run(PATH, prompt=PROMPT, target=" gave a drink", by_target=False).by_target == []


def test_on_the_demo_heads_of_the_last_layers_name_the_indirect_object(run):
    prompt = "When Mary and John went to the store, John gave a drink to"
    result = run(PATH, entry=DEMO, prompt=prompt, target=" Mary", foil=" John")
    assert result.logit > 5
    assert result.ranking[0].kind == "head"
    assert result.accumulated[-1] == pytest.approx(result.logit, abs=1e-4)
    assert abs(result.accumulated[0]) < 1, "the last token's embedding knows no names"
