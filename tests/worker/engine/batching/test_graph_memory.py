"""What a graph that is kept for a backward pass takes up, against what the allocator sees."""

import pytest
import torch

from explaind_worker.engine.batching.memory_estimate import Footprint
from explaind_worker.engine.gradients.differentiable_score import logits_at
from explaind_worker.models.loading.loaded import LoadedModel
from tests.support.allocations import peak_bytes

pytestmark = pytest.mark.usefixtures("two_threads")


def ratio(model: LoadedModel, rows: int, tokens: int, reads: int = 1) -> float:
    """Estimate over measurement of one forward and backward pass as the gradients' engine makes them."""
    read_at = (tokens - reads + torch.arange(reads)).expand(rows, reads)
    prompts = torch.randn(rows, tokens, model.anatomy.hidden, generator=torch.Generator().manual_seed(0))

    def there_and_back() -> torch.Tensor:
        leaf = prompts.to(model.network.dtype, copy=True).requires_grad_()
        logits = logits_at(model, leaf, read_at).float()
        return torch.autograd.grad((logits[..., 0] - logits.logsumexp(-1)).sum(), leaf)[0]

    there_and_back()
    return Footprint.of(model).graph_bytes(rows, tokens, reads=reads) / peak_bytes(there_and_back)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "gemma3_text", "mistral", "qwen3", "gpt_neox", "phi"])
def test_graphs_stay_within_their_estimate(loaded, family):
    assert 1.0 <= ratio(loaded(family), 1, 96) <= 3.0
    assert 1.0 <= ratio(loaded(family), 6, 24, reads=4) <= 3.0


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
def test_quantized_graphs_stay_within_their_estimate(pool, tiny_model, quantization):
    model, _ = pool.model(tiny_model("llama", quantization=quantization))
    assert ratio(model, 4, 40) >= 1.0


def test_a_graph_holds_every_layer(loaded):
    footprint = Footprint.of(loaded("llama"))
    assert footprint.graph_bytes(4, 64) > footprint.layers * footprint.forward_bytes(4, 64) / 3
    assert footprint.graph_bytes(8, 64) > 1.9 * footprint.graph_bytes(4, 64)
