"""Computes a module at some positions of its rows and leaves zeros elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def only_rows(module: nn.Module, places: torch.Tensor) -> Iterator[None]:
    """Context in which `module`, which must be position-wise, computes some positions of [row, position, width] only.

    `places` are [place], the same in every row, or [row, place]. The model's lock must be held.
    """
    lengths: list[int] = []

    def index(hidden: torch.Tensor) -> torch.Tensor:
        return places.unsqueeze(-1).expand(-1, -1, hidden.shape[-1])

    def narrow(_module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        lengths.append(args[0].shape[1])
        # index_select copies a whole position of a row at a time, faster than gather's single numbers.
        seen = args[0].index_select(1, places) if places.dim() == 1 else args[0].gather(1, index(args[0]))
        return (seen, *args[1:])

    def widen(_module: nn.Module, _args: object, output: torch.Tensor) -> torch.Tensor:
        wide = output.new_zeros(output.shape[0], lengths.pop(), output.shape[-1])
        return wide.index_copy_(1, places, output) if places.dim() == 1 else wide.scatter_(1, index(output), output)

    handles = [module.register_forward_pre_hook(narrow), module.register_forward_hook(widen)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
