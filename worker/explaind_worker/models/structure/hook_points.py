"""Sees what passes along a model's residual stream while a forward runs."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, cast

import torch
from torch import nn

from explaind_worker.models.structure.anatomy import Anatomy, Block

# entering, leaving: the stream before and after a block; attention, mlp: what each of them adds to it;
# heads: what the heads say, before the output projection mixes it.
Part = Literal["entering", "heads", "attention", "mlp", "leaving"]

# layer, part, and [row, position, hidden]; of heads [row, position, head, head_dim]
See = Callable[[int, Part, torch.Tensor], None]


@contextmanager
def watching(
    anatomy: Anatomy, see: See, parts: Collection[Part], layers: Collection[int] | None = None
) -> Iterator[None]:
    """Within this context every forward shows `see` these parts of these layers (None: all), in the order they come.

    What is shown is the model's own tensor, not a copy of it. The model's lock must be held.
    """
    wanted = range(len(anatomy.blocks)) if layers is None else layers
    handles = []
    for layer in wanted:
        block = anatomy.blocks[layer]
        for part in parts:
            shown = _showing(see, layer, part, (anatomy.heads, anatomy.head_dim))
            handles.append(_attached(block, part, shown))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _showing(see: See, layer: int, part: Part, heads: tuple[int, int]) -> Callable[[torch.Tensor], None]:
    def show(passing: torch.Tensor) -> None:
        see(layer, part, passing.unflatten(-1, heads) if part == "heads" else passing)

    return show


def _attached(block: Block, part: Part, show: Callable[[torch.Tensor], None]) -> torch.utils.hooks.RemovableHandle:
    def before(_module: nn.Module, args: tuple[torch.Tensor, ...], kwargs: dict[str, torch.Tensor]) -> None:
        show(args[0] if args else kwargs["hidden_states"])

    def after(_module: nn.Module, _args: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        show(first_of(output))

    if part in {"entering", "heads"}:
        module = block.module if part == "entering" else block.output_projection
        return module.register_forward_pre_hook(before, with_kwargs=True)
    module = {"attention": block.attention_write, "mlp": block.mlp_write, "leaving": block.module}[part]
    return module.register_forward_hook(after)


@contextmanager
def hooked(hooks: Sequence[tuple[nn.Module, Callable[..., None]]]) -> Iterator[None]:
    """Within this context each hook is told of every forward of its module. The model's lock must be held."""
    handles = [module.register_forward_hook(hook) for module, hook in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def first_of(output: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The hidden states of a module's output, which families return alone or before others."""
    return output if isinstance(output, torch.Tensor) else cast("tuple[torch.Tensor, ...]", output)[0]
