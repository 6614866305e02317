"""Computes a module at some places of a packed sequence and leaves zeros elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def only_rows(module: nn.Module, places: torch.Tensor) -> Iterator[None]:
    """Within this context `module` sees `places` [place] of [1, node, width] only. It must treat places one by one."""
    lengths: list[int] = []

    def narrow(_module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        lengths.append(args[0].shape[1])
        return (args[0].index_select(1, places), *args[1:])

    def widen(_module: nn.Module, _args: object, output: torch.Tensor) -> torch.Tensor:
        wide = output.new_zeros(output.shape[0], lengths.pop(), output.shape[-1])
        return wide.index_copy_(1, places, output)

    handles = [module.register_forward_pre_hook(narrow), module.register_forward_hook(widen)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
