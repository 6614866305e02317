"""Checks, on loading, the gradients through quantized layers against the layers' own matrices.

Kernels of quantized weights have a separate backward pass, none, or one that is silently wrong under some conditions:
bitsandbytes on a CPU with AVX512-BF16 repacks weights for a kernel without one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from explaind_worker.models.device_errors import out_of_memory

ROWS = 4
COLUMNS = 32  # of each matrix that are compared


@dataclass(frozen=True)
class GradientCheck:
    """The layer with the largest relative error of its gradients, and that error; None if there were no gradients."""

    layer: str
    error: float | None


def keep_backward(network: PreTrainedModel) -> None:
    """Keeps bitsandbytes from repacking 4-bit weights, at the first forward, for a kernel without a backward pass."""
    for module in network.modules():
        layer: Any = module
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False


def check_gradients(network: PreTrainedModel) -> GradientCheck | None:
    """The worst result over one quantized layer of every type and shape; None if no layer is quantized.

    A forward without gradients runs first, as in use, since it may change a layer.
    """
    worst = None
    for name, layer in _layers(network):
        found = GradientCheck(name, _error(layer, network))
        if found.error is None:
            return found
        if worst is None or worst.error is None or found.error > worst.error:
            worst = found
    return worst


def _layers(network: PreTrainedModel) -> Iterator[tuple[str, nn.Module]]:
    seen = set()
    for name, module in network.named_modules():
        sizes = getattr(module, "in_features", None), getattr(module, "out_features", None)
        if type(module) in (nn.Linear, Conv1D) or not all(isinstance(size, int) for size in sizes):
            continue
        if (type(module), *sizes) not in seen:
            seen.add((type(module), *sizes))
            yield name, module


def _error(layer: nn.Module, network: PreTrainedModel) -> float | None:
    """Relative error of the gradient against g W at some columns of W, which are read by unit vectors."""
    width = int(layer.in_features)  # pyright: ignore[reportArgumentType]
    columns = torch.linspace(0, width - 1, min(COLUMNS, width), device=network.device).long()
    units = torch.zeros(len(columns), width, dtype=network.dtype, device=network.device)
    units[torch.arange(len(columns)), columns] = 1.0
    entering = torch.arange(ROWS * width, dtype=torch.float32).sin().reshape(ROWS, width).to(units)
    try:
        with torch.no_grad():
            # Half the difference removes the bias; all-zero rows are avoided, as they have no scale in 8 bits.
            matrix = ((layer(units) - layer(-units)) / 2).float()  # [column, output]
        with torch.enable_grad():
            entering.requires_grad_()
            leaving = layer(entering)
            weights = torch.arange(leaving.numel(), dtype=torch.float32).cos().reshape(leaving.shape).to(leaving)
            (gradient,) = torch.autograd.grad(leaving, entering, weights)
    except Exception as error:  # a kernel without a backward pass may raise anything
        if out_of_memory(error):
            raise
        return None
    expected = weights.float() @ matrix.T
    difference = (gradient.float()[:, columns] - expected).norm() / expected.norm().clamp_min(1e-12)
    return float(difference) if torch.isfinite(difference) else None
