"""A model without weights says of itself what the loaded one does."""

import pytest
import torch

from explaind.contract.errors import InternalError
from explaind_worker.engine.batching.memory_estimate import Footprint
from explaind_worker.models.loading.meta_model import meta_model_of
from explaind_worker.models.pool.pool import ModelPool
from tests.support.families import ALL


@pytest.mark.parametrize("family", ALL)
def test_it_has_the_shape_of_the_model(tiny_model, loaded, family):
    model, pool = loaded(family), ModelPool()
    meta = pool.meta_model(tiny_model(family))
    assert Footprint.of(meta) == Footprint.of(model)
    assert (meta.device, meta.dtype) == (model.device, model.dtype)
    assert meta.bytes == pytest.approx(model.bytes, rel=0.02)
    assert meta.shape.blocks == sum(p.numel() for b in model.anatomy.blocks for p in b.module.parameters())
    assert meta.shape.unembedding == model.anatomy.unembedding.weight.numel()
    assert pool.resident() == []
    assert pool.meta_model(tiny_model(family)) is meta, "made once"


def test_it_refuses_to_be_evaluated(tiny_model, loaded):
    meta = meta_model_of(tiny_model("llama"), loaded("llama").encoder)
    ids = torch.tensor([[1, 2]], device="meta")
    for network in (meta.network, meta.network.base_model):
        with pytest.raises(InternalError, match="cannot be told without doing it"):
            network(input_ids=ids)


def test_the_entrys_dtype_is_the_meta_models(tiny_model):
    entry = tiny_model("llama", dtype="bfloat16")
    meta = ModelPool().meta_model(entry)
    assert meta.dtype == "bfloat16"
    assert Footprint.of(meta).width == 2
