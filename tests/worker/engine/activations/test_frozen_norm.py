"""Norms as linear maps: their kind, gamma and beta told by probing, their scale held."""

import pytest
import torch
from torch import nn
from transformers.models.cohere.modeling_cohere import CohereLayerNorm
from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from explaind.contract.errors import SelfCheckFailed
from explaind_worker.engine.activations.frozen_norm import FrozenNorm

NORMS = {
    "layer norm": (nn.LayerNorm, True),
    "without bias": (lambda n: nn.LayerNorm(n, eps=1e-12, bias=False), True),
    "without parameters": (lambda n: nn.LayerNorm(n, elementwise_affine=False), True),
    "cohere": (CohereLayerNorm, True),
    "rms": (LlamaRMSNorm, False),
    "torch rms": (lambda n: nn.RMSNorm(n, eps=1e-3), False),
    "gemma": (Gemma2RMSNorm, False),
}


def made(name: str, hidden: int) -> nn.Module:
    torch.manual_seed(1)
    norm = NORMS[name][0](hidden)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    return norm.requires_grad_(requires_grad=False)


@pytest.mark.parametrize("hidden", [8, 33])
@pytest.mark.parametrize("name", NORMS)
def test_a_norm_is_the_linear_map_it_is_at_its_scale(name, hidden):
    norm = made(name, hidden)
    entering = 3.0 * torch.randn(4, hidden) + 1.0
    frozen = FrozenNorm.at(norm, entering)
    assert frozen.centred == NORMS[name][1]
    directions = torch.randn(4, hidden, dtype=torch.float64)
    pulled = (entering.double() * frozen.through(directions)).sum(-1) + (directions * frozen.beta).sum(-1)
    torch.testing.assert_close(pulled, (norm(entering).double() * directions).sum(-1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NORMS)
def test_with_its_scale_held_it_adds_up(name):
    """The norm itself does not: norm(a) + norm(b) is not norm(a + b)."""
    norm, (a, b) = made(name, 16), torch.randn(2, 3, 16)
    frozen, directions = FrozenNorm.at(norm, a + b), torch.randn(3, 16, dtype=torch.float64)
    through = frozen.through(directions)
    whole = (norm(a + b).double() * directions).sum(-1) - (directions * frozen.beta).sum(-1)
    parts = (a.double() * through).sum(-1) + (b.double() * through).sum(-1)
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-5)
    apart = ((norm(a) + norm(b)).double() * directions).sum(-1)
    assert not torch.allclose(apart, whole, rtol=0.05)


def test_a_constant_and_a_single_vector_do_no_harm():
    norm = made("layer norm", 8)
    frozen = FrozenNorm.at(norm, torch.full((1, 8), 2.5))
    assert torch.isfinite(frozen.through(torch.ones(1, 8, dtype=torch.float64))).all()


@pytest.mark.parametrize("module", [nn.Tanh(), nn.Softmax(-1), nn.GELU()])
def test_what_is_no_norm_is_refused(module):
    with pytest.raises(SelfCheckFailed, match="no norm whose scale"):
        FrozenNorm.at(module, torch.randn(2, 8))
