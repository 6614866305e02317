"""Length classes of rotary factors, found by trying the modules, and what keeps a forward from remembering another."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from explaind_worker.models.structure.rotary_lengths import LengthClasses, RotaryLengths, rotary_lengths
from tests.support.families import ALL, shape_of
from tests.support.rotary_models import BORDER, ENDS, KINDS, LONGROPE, SHAPE

UNBOUNDED = LengthClasses().last(1)
STATIC = {
    "linear": {"factor": 4.0},
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 32},
    "llama3": {
        "factor": 4.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": BORDER,
    },
}


def made(family, fields, device="cpu"):
    config = AutoConfig.for_model(family, **{"vocab_size": 40, "initializer_range": 0.2, **ENDS, **SHAPE, **fields})
    torch.manual_seed(0)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_border_is_found_with_and_without_weights(kind, device):
    lengths = rotary_lengths(made(*KINDS[kind], device=device))
    beyond = BORDER + 1 if kind == "dynamic" else UNBOUNDED
    assert [lengths.last(length) for length in (1, 2, BORDER, BORDER + 1)] == [BORDER, BORDER, BORDER, beyond]
    assert lengths.vary
    assert lengths.alike((1, BORDER))
    assert not lengths.alike((BORDER, BORDER + 1))
    assert lengths.alike((20, 25)) == (kind != "dynamic"), "beyond a dynamic border every length has its own"


@pytest.mark.parametrize("kind", STATIC)
def test_factors_that_do_not_depend_on_length_have_no_border(kind):
    fields = {"rope_parameters": {"rope_type": kind, "rope_theta": 1e4, **STATIC[kind]}}
    assert not rotary_lengths(made("llama", fields)).vary


@pytest.mark.parametrize("family", ALL)
def test_a_supported_family_as_it_comes_has_no_border(family):
    config = AutoConfig.for_model(family, vocab_size=40, **ENDS, **shape_of(family))
    assert not rotary_lengths(AutoModelForCausalLM.from_config(config)).vary


def test_a_word_for_dynamic_factors_that_are_fixed_has_no_border():
    fields = {"rope_parameters": {"rope_type": "dynamic", "alpha": 1000.0, "factor": 1.0, "rope_theta": 1e4}}
    assert not rotary_lengths(made("hunyuan_v1_dense", {**fields, "head_dim": 16})).vary


def test_layers_of_two_types_have_both_borders():
    dynamic = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    fields = {
        **KINDS["by_layer"][1],
        "max_position_embeddings": 24,
        "rope_parameters": {"full_attention": LONGROPE, "sliding_attention": dynamic},
    }
    lengths = rotary_lengths(made("gemma3_text", fields))
    assert [lengths.last(length) for length in (3, 16, 17, 24, 25, 26)] == [16, 16, 24, 24, 25, 26]


def test_a_module_that_cannot_be_tried_has_no_two_lengths_alike(monkeypatch):
    network = made(*KINDS["longrope"])
    broken = type(network.model.rotary_emb)
    monkeypatch.setattr(broken, "forward", lambda *_, **__: 1 / 0)
    lengths = RotaryLengths(network)
    assert lengths.alike((9, 9))
    assert not lengths.alike((9, 10))


@pytest.mark.parametrize("kind", KINDS)
def test_a_forward_does_not_depend_on_the_one_before_it(kind):
    network, fresh = made(*KINDS[kind]), made(*KINDS[kind])
    rotary_lengths(network)
    ids = torch.arange(30)[None] + 3
    with torch.inference_mode():
        for length in (20, 30, 20, BORDER, 17, 5):
            untouched = made(*KINDS[kind])
            assert torch.equal(network(input_ids=ids[:, :length]).logits, untouched(input_ids=ids[:, :length]).logits)
        if kind == "dynamic":  # plain transformers goes on with the factors of the longest row
            fresh(input_ids=ids)
            after, alone = fresh(input_ids=ids[:, :20]).logits, made(*KINDS[kind])(input_ids=ids[:, :20]).logits
            assert (after - alone).abs().max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_share_a_forward_can_each_have_their_own_factors(kind):
    network, rows = made(*KINDS[kind]), [9, 16, 17, 22]
    lengths, ids = rotary_lengths(network), torch.arange(4 * 22).reshape(4, 22) % 37 + 3
    with torch.inference_mode():
        alone = [network(input_ids=row[None, :length]).logits[0] for row, length in zip(ids, rows, strict=True)]
        with lengths.each_alone(rows, 22):
            together = network(input_ids=ids).logits
        mixed = network(input_ids=ids).logits
    for row, length, expected in zip(together, rows, alone, strict=True):
        torch.testing.assert_close(row[:length], expected, rtol=1e-4, atol=1e-4)
    assert (mixed[0, :9] - alone[0]).abs().max() > 0.1, "without it the longest row decides"


@pytest.mark.parametrize("kind", KINDS)
def test_short_rows_can_try_both_sides_of_a_border_that_is_far_away(kind):
    network = made(*KINDS[kind])
    lengths, ids = rotary_lengths(network), torch.arange(12)[None] + 3
    with torch.inference_mode(), lengths.border_at(10) as border:
        assert border == 10
        assert lengths.alike((9, 10))
        assert not lengths.alike((10, 11))
        below, beyond = network(input_ids=ids[:, :10]).logits, network(input_ids=ids[:, :11]).logits
    with torch.inference_mode():
        torch.testing.assert_close(below, network(input_ids=ids[:, :10]).logits)
        assert (beyond - network(input_ids=ids[:, :11]).logits).abs().max() > 0.1
    with lengths.border_at(100) as border:
        assert border == BORDER, "a border nearer than that stays where it is"
    assert lengths.last(12) == BORDER
