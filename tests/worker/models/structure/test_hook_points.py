import pytest
import torch

from explaind.contract.blocks.hook_points import HookPoint
from explaind.contract.errors import SelfCheckFailed
from explaind_worker.models.structure.hook_points import modules_of, points_at, watching

IDS = torch.tensor([[1, 9, 8, 7], [1, 5, 6, 7]])


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "phi"])
def test_what_is_seen_is_the_models_own_tensor_in_the_order_it_is_computed(loaded, family):
    model, seen = loaded(family), {}
    points = ("resid_post", "mlp_out", "z", "resid_pre", "attn_out")
    with torch.inference_mode(), watching(model.anatomy, seen.__setitem__, points):
        hidden = model.network(input_ids=IDS, output_hidden_states=True, use_cache=False).hidden_states
    for layer in range(3):
        assert seen[HookPoint("resid_pre", layer)].data_ptr() == hidden[layer].data_ptr()
        assert seen[HookPoint("z", layer)].shape == (2, 4, model.anatomy.heads, model.anatomy.head_dim)
    order = [point.name for point in seen if point.layer == 1]
    assert order == ["resid_pre", "z", "attn_out", "mlp_out", "resid_post"]


def test_nothing_is_watched_afterwards(loaded):
    model = loaded("llama")
    with watching(model.anatomy, lambda *_: pytest.fail("watched"), ("resid_pre", "z", "attn_out", "resid_post")):
        pass
    with torch.inference_mode():
        model.network(input_ids=IDS, use_cache=False)


def test_points_are_those_of_the_layers_that_the_family_has(loaded):
    anatomy = loaded("llama").anatomy
    named = points_at(anatomy, ["embed", "pos_embed", "z", HookPoint("z", 0), HookPoint("mlp_out", 2)], [1, 0])
    assert named == [HookPoint("embed"), HookPoint("z", 1), HookPoint("z", 0), HookPoint("mlp_out", 2)]
    assert HookPoint("pos_embed") in points_at(loaded("gpt2").anatomy, ["pos_embed"])


@pytest.mark.parametrize("point", [HookPoint("resid_mid", 1), HookPoint("embed")])
def test_a_sum_is_no_modules(loaded, point):
    with pytest.raises(ValueError, match=f"No module computes {point.name}"):
        modules_of(loaded("llama").anatomy, point)


def test_fused_attention_has_no_pattern_to_see(loaded):
    model = loaded("llama")
    with (
        torch.inference_mode(),
        watching(model.anatomy, lambda *_: None, ["pattern"]),
        pytest.raises(SelfCheckFailed, match="shows no attention weights"),
    ):
        model.network.base_model(input_ids=IDS, use_cache=False)
