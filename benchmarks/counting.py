"""Counts the work of a network, and measures the machine's peak speed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn
from transformers import PreTrainedModel

from explaind_worker.models.structure.anatomy import anatomy_of
from explaind_worker.models.structure.hook_points import first_of

# Square, and the tall one of a small model's MLP.
PEAK_SHAPES = ((2048, 2048, 2048), (2048, 768, 3072))
CUDA_PEAK_SHAPES = ((8192, 8192, 8192),)
PEAK_S = 1.0


@dataclass(frozen=True)
class Count:
    """Tokens through the blocks (averaged over them), unembedded positions, and matrix operations."""

    tokens: int = 0
    reads: int = 0
    flops: float = 0.0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.tokens + other.tokens, self.reads + other.reads, self.flops + other.flops)


class Counter:
    """Counts by hooks on a network's modules, so that both sides are counted alike; use it as a context.

    Two operations for each weight and token: of the blocks' matrices, and of the unembedding where it is applied.
    """

    def __init__(self, network: PreTrainedModel) -> None:
        anatomy = anatomy_of(network)
        blocks = [block.module for block in anatomy.blocks]
        self._blocks = len(blocks)
        self._block_weights = sum(p.numel() for p in blocks[0].parameters() if p.dim() > 1)
        self._vocabulary, self._hidden = anatomy.vocabulary, anatomy.hidden
        self._block_tokens = self._reads = 0
        self._handles = [
            *(block.register_forward_hook(self._left) for block in blocks),  # rows may join inside a block
            anatomy.unembedding.register_forward_hook(self._unembedded),
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stops counting."""
        for handle in self._handles:
            handle.remove()

    def take(self) -> Count:
        """The counts since the last call."""
        flops = 2.0 * (self._block_tokens * self._block_weights + self._reads * self._vocabulary * self._hidden)
        found = Count(round(self._block_tokens / self._blocks), self._reads, flops)
        self._block_tokens = self._reads = 0
        return found

    def _left(self, _block: nn.Module, _args: tuple[Any, ...], output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        self._block_tokens += first_of(output).shape[:-1].numel()

    def _unembedded(self, _module: nn.Module, _args: tuple[Any, ...], logits: torch.Tensor) -> None:
        self._reads += logits.shape[:-1].numel()


@contextmanager
def counted(*networks: PreTrainedModel) -> Iterator[list[Counter]]:
    """Context with counters on all of these networks."""
    counters = [Counter(network) for network in networks]
    try:
        yield counters
    finally:
        for counter in counters:
            counter.close()


@cache
def matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Highest observed rate of matrix operations in that dtype on the device, over one second."""
    best = 0.0
    shapes = CUDA_PEAK_SHAPES if device.type == "cuda" else PEAK_SHAPES
    for rows, inner, columns in shapes:
        left, right = (torch.randn(shape, device=device, dtype=dtype) for shape in ((rows, inner), (inner, columns)))
        until = time.perf_counter() + PEAK_S / len(shapes)
        with torch.inference_mode():
            torch.mm(left, right)
            while True:  # at least once, however busy the machine
                began = time.perf_counter()
                torch.mm(left, right)
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                best = max(best, 2.0 * rows * inner * columns / (time.perf_counter() - began))
                if time.perf_counter() >= until:
                    break
    return best
