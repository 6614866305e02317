"""A copy in bfloat16 computes what its model does up to rounding, and leaves the model as it was."""

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from explaind.contract.blocks.hook_points import HookPoint
from explaind_worker.models.structure.anatomy import anatomy_of
from explaind_worker.models.structure.classifier_head import class_logits
from explaind_worker.models.structure.hook_points import watching
from explaind_worker.models.structure.logits_at import vocabulary_first
from explaind_worker.models.structure.narrow_copy import (
    NarrowLinear,
    NarrowMlp,
    narrow_bytes,
    narrow_copy,
    narrow_layers,
    narrowed_layers,
)
from tests.support.families import ALL

IDS = (torch.arange(24) * 7919 + 13).remainder(300).view(2, 12)
ROUNDING = 2.0**-8  # of one bfloat16 number, relative


def copied(model):
    with model.lock:
        return narrow_copy(model.network, narrow_layers(model.network))


def logits_of(network) -> torch.Tensor:
    with torch.inference_mode():
        return network(input_ids=IDS, use_cache=False).logits


@pytest.mark.parametrize("family", ALL)
def test_a_copy_computes_what_its_model_does_up_to_rounding(loaded, family):
    model = loaded(family)
    before = logits_of(model.network)
    copy = copied(model)
    ours = logits_of(copy)
    assert torch.equal(logits_of(model.network), before), "to the last bit, once the copy has run"
    assert ours.dtype == torch.float32
    assert np.corrcoef(ours.flatten(), before.flatten())[0, 1] > 0.9990
    difference = float((ours - before).abs().max() / before.abs().max())
    assert 1e-5 < difference < 10 * ROUNDING, "rounded, and not by much"


@pytest.mark.parametrize("family", ALL)
def test_only_linear_layers_are_the_copys_own(loaded, family):
    model = loaded(family)
    copy = copied(model)
    linear = [module for module in model.network.modules() if type(module) in {nn.Linear, Conv1D}]
    assert len(narrowed_layers(model.network)) == len(linear) > 10
    assert not any(type(module) in {nn.Linear, Conv1D} for module in copy.modules())
    own = [module for module in copy.modules() if isinstance(module, NarrowLinear)]
    assert all(p.dtype == torch.bfloat16 and not p.requires_grad for layer in own for p in layer.parameters())
    assert sum(p.numel() * 2 for layer in own for p in layer.parameters()) == narrow_bytes(model.network)
    shared = {id(tensor) for tensor in [*model.network.parameters(), *model.network.buffers()]}
    of_layers = {id(parameter) for layer in own for parameter in layer.parameters()}
    rest = {id(tensor) for tensor in [*copy.parameters(), *copy.buffers()]} - of_layers
    assert rest <= shared
    assert copy.config is model.network.config
    anatomy = anatomy_of(copy)
    assert all(isinstance(block.mlp, NarrowMlp) for block in anatomy.blocks), "and they are computed narrow inside"
    assert isinstance(anatomy.unembedding, NarrowLinear)


def test_residual_stream_and_norms_are_float32_and_inside_the_mlp_is_not(loaded):
    copy = copied(loaded("llama"))
    types = {}

    def keep(name):
        def see(_module, args, output):
            types[name] = (args[0].dtype, output.dtype)

        return see

    block = copy.model.layers[1]
    for name, module in {"norm": block.input_layernorm, "mlp": block.mlp, "act": block.mlp.inner.act_fn}.items():
        module.register_forward_hook(keep(name))
    seen = {}
    with watching(anatomy_of(copy), lambda point, tensor: seen.__setitem__(point, tensor.dtype), ("resid_post", "z")):
        logits_of(copy)
    assert types == {
        "norm": (torch.float32, torch.float32),
        "mlp": (torch.float32, torch.float32),
        "act": (torch.bfloat16, torch.bfloat16),
    }
    assert seen[HookPoint("resid_post", 2)] == seen[HookPoint("z", 2)] == torch.float32


def test_hooks_of_one_are_not_those_of_the_other(loaded):
    model = loaded("llama")
    called = []
    handle = model.anatomy.blocks[0].mlp.register_forward_hook(lambda *_: called.append("model"))
    try:
        copy = copied(model)  # a hook that is there is the model's own affair; what follows is not shared
        anatomy_of(copy).blocks[0].mlp.register_forward_hook(lambda *_: called.append("copy"))
    finally:
        handle.remove()
    called.clear()
    logits_of(model.network)
    assert called == []
    logits_of(copy)
    assert "copy" in called


def test_the_unembedding_of_a_copy_keeps_its_own_forward(loaded):
    """`vocabulary_first` replaces the forward of a plain linear layer and then deletes it."""
    copy = copied(loaded("llama"))
    unembedding = anatomy_of(copy).unembedding
    hidden = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    before = unembedding(hidden)
    with vocabulary_first(unembedding):
        assert torch.equal(unembedding(hidden), before)
    assert torch.equal(unembedding(hidden), before)


def test_gradients_come_through_a_copy(loaded):
    model = loaded("llama")
    copy = copied(model)
    gradients = []
    for network in (model.network, copy):
        leaf = network.get_input_embeddings()(IDS[:1]).detach().requires_grad_(True)
        network(inputs_embeds=leaf, use_cache=False).logits[0, -1].log_softmax(-1)[7].backward()
        gradients.append(leaf.grad.flatten())
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99
    assert all(parameter.grad is None for parameter in [*model.network.parameters(), *copy.parameters()])


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_a_classifiers_head_stays_as_it_is(classifier, family):
    model = classifier(family)
    copy = copied(model)
    heads = [module for name, module in copy.named_modules() if name in {"classifier", "score"}]
    assert heads
    assert all(type(head) is nn.Linear for head in heads)
    assert any(isinstance(module, NarrowLinear) for module in copy.base_model.modules())
    with torch.inference_mode():
        ours, theirs = (class_logits(network, input_ids=IDS[:, :8] % 50) for network in (copy, model.network))
    assert not torch.equal(ours, theirs)
    assert float((ours - theirs).norm() / theirs.norm()) < 0.05


def test_a_mixture_of_experts_stays_as_it_is():
    """Rounding could choose other experts."""
    config = AutoConfig.for_model(
        "qwen3_moe", vocab_size=64, hidden_size=32, intermediate_size=64, moe_intermediate_size=32, head_dim=16,
        num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, num_experts=4, num_experts_per_tok=2,
    )  # fmt: skip
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(config)
    names = {id(module): name for name, module in network.named_modules()}
    narrowed = [names[id(module)] for module in narrowed_layers(network)]
    assert narrowed
    assert not any(".mlp" in name for name in narrowed)


def test_layers_of_another_type_are_left(loaded):
    network = AutoModelForCausalLM.from_config(loaded("llama").network.config, dtype=torch.bfloat16)
    assert narrowed_layers(network) == []
    assert narrow_bytes(network) == 0


def test_who_gives_up_waiting_has_changed_nothing(loaded):
    asked = []

    def impatient():
        asked.append(None)
        if len(asked) == 3:
            raise KeyError("cancelled")

    with pytest.raises(KeyError, match="cancelled"):
        narrow_layers(loaded("llama").network, while_waiting=impatient)
