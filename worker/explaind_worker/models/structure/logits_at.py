"""Reads logits at chosen positions only.

The unembedding of a long batch costs more memory than the rest of the forward; a target needs a few positions.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def only_positions(unembedding: nn.Module, positions: torch.Tensor) -> Iterator[None]:
    """Within this context the model's logits are [row, read, vocabulary] instead of [row, position, vocabulary].

    `positions` is [row, read]: where each row of the batch is read. It works on the unembedding's input, so that
    whatever the family does to its logits afterwards (scales, soft caps) is done as ever.
    """

    def gather(_module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden = args[0]
        index = positions.unsqueeze(-1).expand(-1, -1, hidden.shape[-1])
        return (hidden.gather(1, index), *args[1:])

    handle = unembedding.register_forward_pre_hook(gather)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def vocabulary_first(unembedding: nn.Module) -> Iterator[None]:
    """Within this context a plain unembedding of [read, hidden] on a CPU multiplies the other way round.

    Its logits are a transposed view of [vocabulary, read]: with a vocabulary far longer than the reads the product is
    a quarter faster so. Any other unembedding stays as it is.
    """
    if type(unembedding) is not nn.Linear or unembedding.bias is not None or unembedding.weight.device.type != "cpu":
        yield
        return
    weight = unembedding.weight
    unembedding.forward = lambda input: torch.mm(weight, input.t()).t()
    try:
        yield
    finally:
        del unembedding.forward


def entering_unembedding(network: nn.Module, unembedding: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """What enters the unembedding, [row, position, hidden], without unembedding it everywhere."""
    seen: list[torch.Tensor] = []

    def keep_last(_module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        seen.append(args[0])
        return (args[0][:, -1:], *args[1:])

    handle = unembedding.register_forward_pre_hook(keep_last)
    try:
        network(input_ids=ids, use_cache=False)
    finally:
        handle.remove()
    return seen[0]
