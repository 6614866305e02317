"""Computes logits at chosen positions only.

The unembedding of a long batch costs more memory than the rest of the forward; a target needs a few positions.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def only_positions(unembedding: nn.Module, positions: torch.Tensor) -> Iterator[None]:
    """Context in which the model's logits are [row, read, vocabulary] instead of [row, position, vocabulary].

    `positions` is [row, read]: the positions read in each row. Only the unembedding's input is changed, so the family's
    processing of logits (scales, soft caps) applies as usual.
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
    """Context in which a plain unembedding of [read, hidden] on a CPU computes the transposed product.

    Its logits are a transposed view of [vocabulary, read]: with a vocabulary far longer than the reads this is a
    quarter faster. Any other unembedding is unchanged.
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
    """The unembedding's inputs, [row, position, hidden], without computing all logits."""
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
