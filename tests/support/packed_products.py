"""Matrix products as a CPU with bfloat16 units makes them, as far as memory goes: each copies its second factor first.

Stands in for oneDNN on CPUs without those units. The copies are allocated where torch's profiler sees them.
"""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

BLOCK = 64
MIN_FLASH_PACKED = 64  # tokens from which torch's fused attention packs keys and values


class PackedProducts(TorchDispatchMode):
    """Within it every product of bfloat16 matrices takes up a packed copy of its second factor while it runs."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        packed = [_packed_copy(factor) for factor in _second_factors(str(func), args)]
        try:
            return func(*args, **(kwargs or {}))
        finally:
            del packed


def _second_factors(name: str, args: tuple[Any, ...]) -> list[torch.Tensor]:
    place = {"aten.mm.default": 1, "aten.bmm.default": 1, "aten.addmm.default": 2, "aten.linear.default": 1}.get(name)
    if place is not None and args[place].dtype == torch.bfloat16:
        return [args[place]]
    if "flash_attention_for_cpu" in name and args[0].dtype == torch.bfloat16 and args[1].shape[2] >= MIN_FLASH_PACKED:
        return [args[1], args[2]]
    return []


def _packed_copy(factor: torch.Tensor) -> torch.Tensor:
    *batch, rows, columns = factor.shape
    return factor.new_empty(*batch, -(-rows // BLOCK) * BLOCK, -(-columns // BLOCK) * BLOCK)
