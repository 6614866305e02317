import pytest
import torch
from torch import nn

from explaind.contract.errors import SelfCheckFailed
from explaind_worker.models.structure.anatomy import anatomy_of
from explaind_worker.models.structure.self_check import check
from tests.support.families import ALL


@pytest.mark.parametrize("family", ALL)
def test_every_family_is_recognised_and_passes_its_self_check(loaded, family):
    model = loaded(family)
    assert len(model.anatomy.blocks) == 3
    assert model.anatomy.heads == 4
    differences = check(model.network, model.anatomy)
    assert max(differences.values()) < 1e-5
    assert set(differences) == {"residual", "logits", "positions", "causal"}


def test_head_width_need_not_be_hidden_over_heads(loaded):
    assert loaded("qwen3").anatomy.head_dim == 32
    assert loaded("llama").anatomy.head_dim == 16


def test_soft_cap_is_part_of_the_view(loaded):
    model = loaded("gemma2")
    assert model.anatomy.logit_softcap == 30.0
    assert float(model.anatomy.final_logits(torch.tensor([1e6]))) == pytest.approx(30.0)


@pytest.mark.parametrize("family", ["llama", "gpt_neox"])
def test_a_block_that_adds_something_unseen_is_refused(loaded, family):
    model = loaded(family)
    handle = model.anatomy.blocks[1].module.register_forward_hook(lambda _m, _a, output: output * 1.01)
    try:
        with pytest.raises(SelfCheckFailed, match="residual is off"):
            check(model.network, model.anatomy)
    finally:
        handle.remove()


def test_unknown_scaling_of_the_logits_is_refused(loaded):
    network = loaded("llama").network
    handle = network.register_forward_hook(lambda _m, _a, output: output.__setitem__("logits", output.logits * 1.1))
    try:
        with pytest.raises(SelfCheckFailed, match="logits is off"):
            check(network, anatomy_of(network))
    finally:
        handle.remove()


def test_a_model_without_blocks_is_refused_with_what_is_missing(loaded):
    network = loaded("llama").network
    blocks = network.model.layers
    network.model.layers = nn.ModuleList()
    try:
        with pytest.raises(SelfCheckFailed, match="list of blocks was not found"):
            anatomy_of(network)
    finally:
        network.model.layers = blocks
