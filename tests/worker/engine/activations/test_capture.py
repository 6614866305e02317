"""Captured activations against plain hooks and transformers' own hidden states and attentions, in float64."""

import copy
from contextlib import ExitStack
from dataclasses import replace

import pytest
import torch

from explaind.contract.blocks.hook_points import HOOK_POINTS, HookPoint
from explaind_worker.engine.activations.capture import activation_bytes, capture, capture_rows
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.memory_estimate import Footprint
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.models.structure.anatomy import anatomy_of
from explaind_worker.models.structure.attention_implementation import using_attention
from tests.support.families import ALL

IDS = (1, 9, 8, 7, 30, 31, 5, 5, 2, 40)
LAYERS = range(3)
POST_NORMS = {"gemma2", "gemma3_text"}
ROWS = [(1, 9, 8, 7), (1, 5, 6, 7, 8, 9, 10), (1, 3)]


@pytest.fixture(scope="session")
def wide(loaded):
    """`wide("gpt2")`: the tiny model of that family in float64."""
    made = {}

    def make(family):
        if family not in made:
            model = loaded(family)
            network = copy.deepcopy(model.network).double()
            made[family] = replace(model, network=network, anatomy=anatomy_of(network))
        return made[family]

    return make


def plain(model, family, ids=IDS):
    """Every hook point of every layer, by hooks on the family's own modules and by the network's own outputs."""
    seen = {}
    network, blocks = model.network, [block.module for block in model.anatomy.blocks]

    def keep(name, layer, *, entering=False):
        def hook(_module, args, kwargs, output=None):
            found = (args[0] if args else kwargs["hidden_states"]) if entering else output
            seen[HookPoint(name, layer)] = (found if isinstance(found, torch.Tensor) else found[0])[0]

        return hook

    with ExitStack() as stack:
        for layer, block in enumerate(blocks):
            attention = next(getattr(block, n) for n in ("self_attn", "attn", "attention") if hasattr(block, n))
            projection = next(
                getattr(attention, n) for n in ("o_proj", "c_proj", "dense", "out_proj") if hasattr(attention, n)
            )
            post = family in POST_NORMS
            writes = block.post_attention_layernorm if post else attention
            hooks = [
                (writes, "attn_out"), (block.post_feedforward_layernorm if post else block.mlp, "mlp_out"),
            ]  # fmt: skip
            for module, name in hooks:
                stack.callback(module.register_forward_hook(keep(name, layer), with_kwargs=True).remove)
            hook = keep("z", layer, entering=True)
            stack.callback(projection.register_forward_pre_hook(hook, with_kwargs=True).remove)
            hook = keep("resid_post", layer)
            stack.callback(block.register_forward_hook(hook, with_kwargs=True).remove)
        stack.enter_context(torch.no_grad())
        stack.enter_context(using_attention(network, "eager"))
        output = network(
            input_ids=torch.tensor([ids]), output_hidden_states=True, output_attentions=True, use_cache=False
        )
        embedded = network.get_input_embeddings()(torch.tensor([ids]))[0]
    for layer in LAYERS:
        seen[HookPoint("resid_pre", layer)] = output.hidden_states[layer][0]
        seen[HookPoint("pattern", layer)] = output.attentions[layer][0]
        seen[HookPoint("z", layer)] = seen[HookPoint("z", layer)].unflatten(-1, (4, -1))
        resid_pre, attn_out = (seen[HookPoint(name, layer)] for name in ("resid_pre", "attn_out"))
        seen[HookPoint("resid_mid", layer)] = resid_pre + attn_out
    seen[HookPoint("embed")] = embedded
    if family == "gpt2":
        seen[HookPoint("pos_embed")] = network.transformer.wpe.weight[: len(ids)].detach()
    return seen


def close(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("family", ALL)
def test_every_point_is_what_plain_hooks_see(wide, family):
    model, meter = wide(family), CostMeter()
    expected = plain(model, family)
    found = capture(model, IDS, list(HOOK_POINTS), meter=meter)
    assert set(found) == set(expected)
    for point, activations in found.items():
        close(activations, expected[point])
        sizes = {"position": len(IDS), "query": len(IDS), "key": len(IDS), "hidden": 64, "head": 4}
        sizes["head_dim"] = model.anatomy.head_dim
        assert activations.shape == tuple(sizes[axis] for axis in HOOK_POINTS[point.name].axes)
    assert (meter.forwards, meter.tokens_evaluated) == (1, len(IDS))


@pytest.mark.parametrize("family", ALL)
def test_the_parts_add_up_to_the_stream(wide, family):
    model = wide(family)
    found = capture(model, IDS, ["resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post"], meter=CostMeter())
    for layer in LAYERS:
        pre, attention, mid, mlp, post = (
            found[HookPoint(name, layer)] for name in ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")
        )
        close(pre + attention, mid)
        close(mid + mlp, post)
        if layer:
            assert torch.equal(pre, found[HookPoint("resid_post", layer - 1)])
    heads = found = capture(model, IDS, ["z", "attn_out"], layers=[1], meter=CostMeter())
    block = model.anatomy.blocks[1]
    if block.attention_write is block.attention:
        with torch.no_grad():
            close(block.output_projection(heads[HookPoint("z", 1)].flatten(-2)), found[HookPoint("attn_out", 1)])


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "gpt_neox"])
def test_chosen_layers_and_positions_are_kept_alone(wide, family):
    model, expected = wide(family), plain(wide(family), family)
    positions = [5, 0, 9]
    names = ["z", "resid_mid", "pattern", "resid_pre"]
    found = capture(model, IDS, names, layers=[2, 0], positions=positions, meter=CostMeter())
    assert list(found) == [HookPoint(name, layer) for name in names for layer in (2, 0)]
    for point, activations in found.items():
        whole = expected[point]
        close(activations, whole[:, positions] if point.name == "pattern" else whole[positions])


def test_a_wrong_layer_or_position_would_be_seen(wide):
    model, expected = wide("llama"), plain(wide("llama"), "llama")
    for name, spec in HOOK_POINTS.items():
        if spec.by_layer:
            other = capture(model, IDS, [name], layers=[1], meter=CostMeter())[HookPoint(name, 1)]
            assert not torch.allclose(other, expected[HookPoint(name, 2)], atol=1e-6)
            assert not torch.allclose(other.flip(0), expected[HookPoint(name, 1)], atol=1e-6)


def test_single_points_and_names_may_be_mixed_and_lie_in_one_tensor(wide):
    model = wide("phi")
    points = [HookPoint("resid_pre", 0), "resid_post", HookPoint("resid_post", 2), HookPoint("attn_out", 1)]
    found = capture(model, IDS, points, positions=[3], meter=CostMeter())
    assert len(found) == 5, "each point once"
    stacked = found.stacked()
    assert stacked.shape == (5, 1, 64)
    assert stacked.untyped_storage().data_ptr() == found[HookPoint("attn_out", 1)].untyped_storage().data_ptr()
    for row, activations in zip(stacked, found.values(), strict=True):
        assert torch.equal(row, activations)
    with pytest.raises(ValueError, match="different axes"):
        capture(model, IDS, ["z", "resid_pre"], meter=CostMeter()).stacked()


@pytest.mark.parametrize("rows", [ROWS, [row[:2] for row in ROWS]], ids=["padded", "alike"])
@pytest.mark.parametrize("family", ["gpt2", "gemma2", "phi"])
def test_rows_of_a_batch_are_those_of_each_alone(wide, family, rows):
    model, meter = wide(family), CostMeter()
    points = ["embed", "pos_embed", "resid_mid", "z", "resid_post"]
    together = capture_rows(model, rows, points, meter=meter, reads=3)
    for point, activations in together.items():
        close(activations, torch.cat([capture(model, row, [point], meter=CostMeter())[point] for row in rows]))
    assert (meter.forwards, meter.tokens_evaluated, meter.reads) == (1, 3 * max(map(len, rows)), 3)
    with pytest.raises(ValueError, match="one row at a time"):
        capture_rows(model, ROWS, ["pattern"], meter=CostMeter())


def test_a_forward_ends_behind_the_last_point(wide):
    model, entered = wide("llama"), []
    handles = [
        block.module.register_forward_pre_hook(lambda _m, _a, layer=layer: entered.append(layer))
        for layer, block in enumerate(model.anatomy.blocks)
    ]
    try:
        capture(model, IDS, ["z"], layers=[1], meter=CostMeter())
        assert entered == [0, 1]
        entered.clear()
        logits = []
        capture(
            model, IDS, ["z"], layers=[1], meter=CostMeter(),
            forward=lambda ids: logits.append(model.network(input_ids=ids).logits),
        )  # fmt: skip
        assert entered == [0, 1, 2]
        assert logits[0].shape == (1, len(IDS), model.anatomy.vocabulary)
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("family", ["gpt2", "gemma2"])
def test_a_model_is_left_as_it_was(wide, family):
    model = wide(family)
    with torch.inference_mode():
        before = model.network(input_ids=torch.tensor([IDS])).logits

    def hooks():
        return [sorted([*m._forward_hooks, *m._forward_pre_hooks]) for m in model.network.modules()]

    attached = hooks()  # transformers leaves some of its own
    capture(model, IDS, list(HOOK_POINTS), meter=CostMeter())
    capture(model, IDS, ["resid_pre"], layers=[0], meter=CostMeter())
    assert not model.lock.locked()
    assert hooks() == attached
    with torch.inference_mode():
        assert torch.equal(model.network(input_ids=torch.tensor([IDS])).logits, before)


@pytest.mark.parametrize("family", ALL)
def test_a_dry_run_counts_and_has_the_same_shapes_without_numbers(wide, tiny_model, family):
    model, meter, dry = wide(family), CostMeter(), CostMeter()
    without_weights = ModelPool().meta_model(tiny_model(family))
    options = {"layers": [0, 2], "positions": [4, 2], "reads": 7}
    found = capture(model, IDS, list(HOOK_POINTS), meter=meter, **options)
    made = capture(without_weights, IDS, list(HOOK_POINTS), meter=dry, beside=1000, **options)
    assert {point: a.shape for point, a in made.items()} == {point: a.shape for point, a in found.items()}
    assert all(activations.is_meta for activations in made.values())
    assert dry.work == meter.work
    assert dry.expected_bytes == Footprint.of(without_weights).forward_bytes(1, len(IDS)) + 1000


def test_bytes_are_those_of_the_tensors(loaded):
    model = loaded("qwen3")
    names = ["resid_pre", "z", "mlp_out"]
    found = capture(model, IDS, names, layers=[0, 2], meter=CostMeter())
    told = activation_bytes(Footprint.of(model), len(IDS), [*names, "z"], 2)
    assert told == sum(a.nbytes for a in found.values())
