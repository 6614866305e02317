"""Copy of a network with its linear layers in bfloat16; everything else is shared with the original.

Residual stream, norms, attention scores and softmax stay in float32: a linear layer rounds its inputs and outputs. An
MLP of linear layers and activations only is computed in bfloat16 throughout.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from explaind_worker.models.structure.anatomy import MLP
from explaind_worker.models.structure.classifier_head import head_names
from explaind_worker.models.structure.rotary_lengths import rotary_modules

NARROW = torch.bfloat16


class NarrowLinear(nn.Module):
    """A linear layer with its product in bfloat16; its output has the dtype of its input.

    A separate class, since `logits_at.vocabulary_first` replaces the forward of a plain `nn.Linear`.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    @classmethod
    def of(cls, module: nn.Linear | Conv1D) -> "NarrowLinear":
        """The narrow layer of an `nn.Linear`, or of GPT-2's `Conv1D`, which stores its weight as [in, out]."""
        weight = module.weight.detach().t() if isinstance(module, Conv1D) else module.weight.detach()
        bias = None if module.bias is None else module.bias.detach().to(NARROW)
        return cls(weight.to(NARROW, memory_format=torch.contiguous_format), bias)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Output [..., out] of an input [..., in]."""
        return functional.linear(input.to(NARROW), self.weight, self.bias).to(input.dtype)


class NarrowMlp(nn.Module):
    """An MLP computed in bfloat16 throughout; its output has the dtype of its input."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, hidden: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Output of the MLP for hidden states [..., hidden]."""
        return self.inner(hidden.to(NARROW), *args, **kwargs).to(hidden.dtype)


def narrow_layers(
    network: PreTrainedModel, *, while_waiting: Callable[[], None] = lambda: None
) -> dict[int, NarrowLinear]:
    """The layers of a copy, by the identity of those that they replace; `while_waiting` is called before each.

    Needs no lock: weights are only read.
    """
    made = {}
    for module in narrowed_layers(network):
        while_waiting()
        made[id(module)] = NarrowLinear.of(module)
    return made


def narrow_copy(network: PreTrainedModel, layers: dict[int, NarrowLinear]) -> PreTrainedModel:
    """The network with these `narrow_layers` in place of its own. The model's lock must be held."""
    memo: dict[int, Any] = {id(thing): thing for thing in _shared(network)}
    memo |= layers
    memo |= {id(module): module for module in rotary_modules(network)}  # one state, shared with the original
    for mlp in _mlps(network):
        if _is_plain(mlp):
            memo[id(mlp)] = NarrowMlp(copy.deepcopy(mlp, memo))
    return copy.deepcopy(network, memo)


def narrowed_layers(network: PreTrainedModel) -> list[nn.Linear | Conv1D]:
    """The float32 linear layers that a copy narrows: all but a classifier's head and those of a mixture of experts.

    A head is small and determines the result; with a mixture of experts, rounding could change the routing.
    """
    kept: set[nn.Module] = set()
    if network.get_output_embeddings() is None:
        kept |= {part for name in head_names(network) for part in network.get_submodule(name).modules()}
    for mlp in _mlps(network):
        if _chooses_experts(mlp):
            kept |= set(mlp.modules())
    return [module for module in network.modules() if _is_linear(module) and module not in kept]  # type: ignore[misc]


def narrow_bytes(network: PreTrainedModel) -> int:
    """Bytes of a copy's own weights; the network may be on the meta device."""
    layers = narrowed_layers(network)
    return sum(NARROW.itemsize * weight.numel() for layer in layers for weight in layer.parameters(recurse=False))


def _is_linear(module: nn.Module) -> bool:
    # Exactly these classes: quantized layers, and layers whose weight their parent reads, are subclasses.
    return type(module) in {nn.Linear, Conv1D} and module.weight.dtype is torch.float32


def _mlps(network: nn.Module) -> Iterator[nn.Module]:
    for name, module in network.named_modules():
        if name.rpartition(".")[2] in MLP:
            yield module


def _is_plain(mlp: nn.Module) -> bool:
    """Whether all of its weights belong to linear layers, so that it can be computed in bfloat16 throughout."""
    parts = [part for part in mlp.modules() if any(True for _ in part.parameters(recurse=False))]
    return bool(parts) and all(_is_linear(part) for part in parts) and not _chooses_experts(mlp)


def _chooses_experts(mlp: nn.Module) -> bool:
    return any(isinstance(part, nn.ModuleList) for part in mlp.modules()) or any(p.dim() > 2 for p in mlp.parameters())


def _shared(network: PreTrainedModel) -> Iterator[object]:
    """Objects shared by copy and original: weights, buffers, tensors kept beside them, configs."""
    for module in network.modules():
        yield from module.parameters(recurse=False)
        yield from module.buffers(recurse=False)
        yield from (value for value in vars(module).values() if isinstance(value, torch.Tensor | PreTrainedConfig))
