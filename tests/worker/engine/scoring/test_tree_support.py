import threading

import pytest
import torch
from torch import nn

from explaind_worker.engine.scoring import tree_attention
from explaind_worker.engine.scoring.tree_support import why_dense
from explaind_worker.models.loading.loading import load_encoder, load_model
from tests.support.families import ALL


@pytest.fixture
def fresh(tiny_model, loaded):
    """A model whose verdict is not known yet."""
    model = loaded("llama")
    known = model.verdicts.pop("dense_because", None)
    yield model
    model.verdicts.pop("dense_because", None)
    if known is not None:
        model.verdicts["dense_because"] = known


@pytest.mark.parametrize("family", ALL)
def test_every_supported_family_reads_a_tree(loaded, family):
    assert why_dense(loaded(family)) is None


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_narrow_types_read_a_tree(tiny_model, family, dtype):
    entry = tiny_model(family, dtype=dtype)
    model = load_model(entry, load_encoder(entry), threading.Lock())
    assert model.dtype == dtype
    assert why_dense(model) is None


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
def test_quantized_models_read_a_tree(tiny_model, quantization):
    entry = tiny_model("llama", quantization=quantization)
    assert why_dense(load_model(entry, load_encoder(entry), threading.Lock())) is None


def test_an_attention_of_another_kind_is_read_in_dense_batches(fresh, monkeypatch):
    """A family whose attention takes something that a tree's attention does not know, such as sinks."""

    def with_sinks(module, *args, **kwargs):
        return tree_attention._tree_attention(module, *args, **kwargs, s_aux=torch.zeros(1))

    monkeypatch.setitem(tree_attention.AttentionInterface._global_mapping, tree_attention.NAME, with_sinks)
    assert why_dense(fresh) == "its attention takes s_aux"


def test_a_model_that_computes_its_attention_itself_is_found_out(fresh, monkeypatch):
    """Its forward pays no heed to the registered attention, so that a tree would be read as one long text."""
    monkeypatch.setattr(tree_attention, "NAME", "sdpa")
    assert "differ" in (why_dense(fresh) or "")


def test_a_model_that_breaks_over_a_tree_is_read_in_dense_batches(fresh, monkeypatch):
    def refuse(*_, **__):
        raise TypeError("no such argument")

    monkeypatch.setitem(tree_attention.AttentionInterface._global_mapping, tree_attention.NAME, refuse)
    assert why_dense(fresh) == "its attention could not be replaced (TypeError)"
    assert isinstance(fresh.anatomy.blocks[-1].mlp, nn.Module)
    assert not fresh.anatomy.blocks[-1].mlp._forward_pre_hooks, "no hook may stay behind"
    assert fresh.network.config._attn_implementation == "sdpa"


def test_the_verdict_is_remembered(fresh, monkeypatch):
    assert why_dense(fresh) is None
    monkeypatch.setattr("explaind_worker.engine.scoring.tree_support._tried", lambda _: pytest.fail("tried again"))
    assert why_dense(fresh) is None
