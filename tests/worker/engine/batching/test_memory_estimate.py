"""Estimates against what the allocator sees: never less, and at most about twice as much.

On a CPU whose products copy their weights first (oneDNN's, in bfloat16) a small batch may get three times as much.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

from explaind_jobs.catalogue import ModelEntry
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.batching.memory_estimate import Footprint, _largest_packed
from explaind_worker.engine.scoring import tree_evaluator
from explaind_worker.engine.scoring.rows import AskedRow, grouped
from explaind_worker.models.loading.loaded import LoadedModel
from explaind_worker.models.loading.loading import load_encoder, load_model
from explaind_worker.models.structure.anatomy import anatomy_of
from explaind_worker.models.structure.logits_at import only_positions
from explaind_worker.models.structure.narrow_copy import narrow_copy, narrow_layers
from explaind_worker.models.structure.packed_weights import packed_bytes, packs_weights
from explaind_worker.models.text.tokenizer import Encoder
from tests.support.allocations import peak_bytes
from tests.support.families import ALL, families, shape_of
from tests.support.packed_products import PackedProducts

pytestmark = pytest.mark.usefixtures("two_threads")

SHAPE = {"hidden": 128, "intermediate": 352, "head_dim": 64, "positions": 1024, "window": 64}
Made = Callable[..., LoadedModel]


@pytest.fixture(scope="module")
def made() -> Made:
    """`made("llama", torch.bfloat16, vocabulary=…)`: a model in memory without files or tokenizer."""
    known: dict[tuple[object, ...], LoadedModel] = {}

    def make(family: str, dtype: torch.dtype = torch.float32, vocabulary: int = 500) -> LoadedModel:
        key = (family, dtype, vocabulary)
        if key not in known:
            torch.manual_seed(0)
            ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
            config = AutoConfig.for_model(family, vocab_size=vocabulary, **ends, **shape_of(family, **SHAPE))
            network = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
            entry = ModelEntry(name=family, builtin=True)
            known[key] = LoadedModel(
                entry, Encoder(None, 1024), network, anatomy_of(network), frozenset(), threading.Lock(), None, 0  # type: ignore[arg-type]
            )  # fmt: skip
        return known[key]

    return make


def most(model: LoadedModel) -> float:
    """The largest estimate over measurement that is accepted."""
    return 3.0 if Footprint.of(model).packs else 2.0


def ratio(
    model: LoadedModel,
    rows: int,
    tokens: int,
    reads: int = 1,
    *,
    past: int | None = None,
    products: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> float:
    """Estimate over measurement of one forward as the value function makes it; `past` tokens are shared by all rows."""
    ids = torch.arange(rows * tokens).remainder(model.anatomy.vocabulary).reshape(rows, tokens)
    read_at = (tokens - (past or 0) - reads + torch.arange(reads)).expand(rows, reads)

    def forward() -> torch.Tensor:
        with torch.inference_mode(), only_positions(model.anatomy.unembedding, read_at), products():
            cache, rest = None, ids
            if past is not None:
                cache = DynamicCache(config=model.network.config)
                model.network.base_model(input_ids=ids[:1, :past], past_key_values=cache, use_cache=True)
                cache.batch_select_indices(torch.zeros(rows, dtype=torch.long))
                rest = ids[:, past:]
            logits = model.network(input_ids=rest, past_key_values=cache, use_cache=past is not None).logits.float()
            return logits - logits.logsumexp(-1, keepdim=True)

    forward()
    estimate = Footprint.of(model).forward_bytes(rows, tokens, reads=reads, cached=past is not None)
    return estimate / peak_bytes(forward)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("family", ALL)
def test_estimates_are_upper_bounds_within_twice(made, family, dtype):
    model = made(family, dtype)
    for rows, tokens in [(1, 24), (1, 200), (1, 900), (12, 48)]:
        assert 1.0 <= ratio(model, rows, tokens) <= most(model), f"{rows} rows of {tokens}"


@pytest.mark.parametrize("family", families(without="sliding"))
def test_shared_beginnings_stay_within_the_estimate(made, family):
    for rows, tokens, past in [(1, 200, 100), (12, 64, 40), (12, 64, 8)]:
        assert 1.0 <= ratio(made(family), rows, tokens, past=past) <= 2.5, f"{rows} rows of {tokens}, {past} shared"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_a_large_vocabulary_is_counted_at_the_read_places(made, family, dtype):
    model = made(family, dtype, vocabulary=30_000)
    for rows, tokens, reads in [(16, 8, 1), (8, 16, 6)]:
        assert 1.0 <= ratio(model, rows, tokens, reads) <= most(model)


@pytest.fixture
def packing(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[Any]]:
    """Within it products copy their weights first, whatever this CPU is."""
    if packs_weights(torch.device("cpu"), torch.bfloat16):
        return nullcontext
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    return PackedProducts


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "phi3"])
def test_copies_of_weights_are_counted_where_products_make_them(made, packing, family):
    small, large = made(family, torch.bfloat16), made(family, torch.bfloat16, vocabulary=30_000)
    for model, rows, tokens in [(small, 1, 24), (small, 1, 200), (large, 16, 8)]:
        assert 1.0 <= ratio(model, rows, tokens, products=packing) <= 3.0, f"{rows} rows of {tokens}"


def narrowed(model: LoadedModel) -> LoadedModel:
    """Its copy in bfloat16."""
    network = narrow_copy(model.network, narrow_layers(model.network))
    return replace(model, network=network, anatomy=anatomy_of(network), copy_of=model)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "phi3"])
def test_a_copy_in_bfloat16_stays_within_the_estimate(made, packing, family):
    small, large = narrowed(made(family)), narrowed(made(family, vocabulary=30_000))
    for model, rows, tokens in [(small, 1, 24), (small, 12, 48), (large, 16, 8)]:
        assert 1.0 <= ratio(model, rows, tokens, products=packing) <= 3.0, f"{rows} rows of {tokens}"


def test_a_copys_packed_weights_are_counted_beside_float32_attention(made, packing):
    model = made("llama")
    plain, narrow = Footprint.of(model), Footprint.of(narrowed(model))
    assert narrow == plain.with_narrow_products(model)
    assert (narrow.packed_block, narrow.packed_head) == (packed_bytes(352, 128), packed_bytes(500, 128))
    assert not narrow.packs, "keys and values are float32, which are not packed"
    assert narrow.forward_bytes(1, 24) >= plain.forward_bytes(1, 24) + narrow.packed_block


def test_no_copies_are_counted_where_products_make_none(made, monkeypatch):
    wide, narrow = made("llama"), made("llama", torch.bfloat16)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_fp16_supported", lambda: False)
    packed, plain = Footprint.of(narrow), Footprint.of(wide)
    assert (packed.packed_block, packed.packed_head) == (packed_bytes(352, 128), packed_bytes(500, 128))
    assert (plain.packs, plain.packed_block, plain.packed_head) == (False, 0, 0)
    assert not packs_weights(torch.device("cpu"), torch.float16)
    assert not packs_weights(torch.device("cuda"), torch.bfloat16)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    unpacked = Footprint.of(narrow)
    assert (unpacked.packs, unpacked.packed_block, unpacked.packed_head) == (False, 0, 0)
    assert unpacked.forward_bytes(1, 24) < 0.6 * packed.forward_bytes(1, 24)
    assert packed.tree_bytes(40, 30) > unpacked.tree_bytes(40, 30) + packed.packed_block
    assert packed.graph_bytes(2, 30) > unpacked.graph_bytes(2, 30) + packed.packed_block


def test_the_largest_matrix_of_a_block_is_packed_and_no_table():
    assert packed_bytes(65, 64) == 2 * 128 * 64
    module = torch.nn.ModuleList([torch.nn.Embedding(5000, 64), torch.nn.Linear(64, 200), torch.nn.Linear(64, 64)])
    assert _largest_packed(module) == packed_bytes(200, 64)
    assert _largest_packed(torch.nn.LayerNorm(8)) == 0


def test_written_out_attention_grows_with_the_square(made):
    eager, fused = Footprint.of(made("gemma2")), Footprint.of(made("gemma"))
    assert eager.forward_bytes(1, 4000) > 12 * eager.forward_bytes(1, 1000)
    assert fused.forward_bytes(1, 4000) <= 4 * fused.forward_bytes(1, 1000)


def test_the_cache_is_counted_exactly(made):
    for family in ("gpt2", "llama", "gemma"):
        model, cache = made(family), DynamicCache(config=made(family).network.config)
        with torch.inference_mode():
            model.network(torch.zeros(3, 17, dtype=torch.long), past_key_values=cache, use_cache=True)
        held = sum(t.numel() * t.itemsize for layer in cache.layers for t in (layer.keys, layer.values))
        assert Footprint.of(model).cache_bytes(3, 17) == held


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma"])
def test_quantized_models_stay_within_their_estimate(tiny_model, family, quantization):
    entry = tiny_model(family, quantization=quantization)
    model = load_model(entry, load_encoder(entry), threading.Lock())
    for rows, tokens in [(1, 20), (8, 60)]:
        assert ratio(model, rows, tokens) >= 1.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("memory", [None, 24 << 20])
def test_a_tree_whose_logits_outweigh_it_is_estimated_as_well(made, monkeypatch, dtype, memory):
    """Many rows share nearly all of their tokens, and each is read over a large vocabulary."""
    model, told = made("llama", dtype, vocabulary=20_000), list[int]()
    drawn, group = np.random.default_rng(0), grouped([(3,)])[0]
    beginning = drawn.integers(3, 500, 20)
    rows = [AskedRow((0, bytes([index])), np.append(beginning, index), group) for index in range(3, 203)]
    real = tree_evaluator.forward
    monkeypatch.setattr(tree_evaluator, "forward", lambda *a, **k: (told.append(k["bytes"]), real(*a, **k))[1])
    limits = BatchLimits(tokens=4096, logits=32 << 20, bytes=memory)

    def read() -> None:
        list(tree_evaluator.TreeRows(model, limits, CostMeter())(rows))

    read()  # kernels that are only made once
    told.clear()
    taken = peak_bytes(read)
    assert taken <= max(told) <= most(model) * taken
    if memory is not None:
        assert taken <= memory
