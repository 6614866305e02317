"""Hook points of a network: the module of each one, and hooks that observe activations there."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import cast

import torch
from torch import nn

from explaind.contract.blocks.hook_points import HOOK_POINTS, HookPoint, HookPointName
from explaind.contract.errors import SelfCheckFailed
from explaind_worker.models.structure.anatomy import Anatomy

# Takes the activations at a point: [row, position, hidden]; of z [row, position, head, head_dim], of pattern
# [row, head, query, key].
See = Callable[[HookPoint, torch.Tensor], None]
Handle = torch.utils.hooks.RemovableHandle

ENTERING: frozenset[HookPointName] = frozenset({"resid_pre", "z"})  # inputs of their modules; the others are outputs


def points_at(
    anatomy: Anatomy, points: Iterable[HookPointName | HookPoint], layers: Iterable[int] | None = None
) -> list[HookPoint]:
    """The points, each once, in order; a name stands for its points in all of `layers` (None: every layer).

    Points that the family lacks (`pos_embed`) are left out.
    """
    chosen = list(range(len(anatomy.blocks)) if layers is None else layers)
    found: dict[HookPoint, None] = {}
    for point in points:
        if isinstance(point, HookPoint):
            found[point] = None
        else:
            by_layer = HOOK_POINTS[point].by_layer
            found.update(dict.fromkeys(HookPoint(point, layer) for layer in (chosen if by_layer else [None])))
    return [point for point in found if point.name != "pos_embed" or anatomy.position_embeddings]


def terms_of(point: HookPoint) -> dict[HookPoint, int]:
    """The points whose activations, each times 1 or −1, add up to those of `point`; usually the point alone.

    No family has a module whose input or output is `resid_mid` or `embed` in all cases.
    """
    if point.name == "resid_mid":
        return {HookPoint("resid_pre", point.layer): 1, HookPoint("attn_out", point.layer): 1}
    if point.name == "embed":
        return {HookPoint("resid_pre", 0): 1, HookPoint("pos_embed"): -1}
    return {point: 1}


def modules_of(anatomy: Anatomy, point: HookPoint) -> tuple[nn.Module, ...]:
    """The module that `point` enters (`ENTERING`) or leaves; for `pos_embed` every position embedding table.

    Raises:
        ValueError: it is a sum of points (`terms_of`).
    """
    if point.name == "pos_embed":
        return anatomy.position_embeddings
    if point.layer is None or point.name == "resid_mid":
        raise ValueError(f"No module computes {point.name}.")
    block = anatomy.blocks[point.layer]
    modules: dict[HookPointName, nn.Module] = {
        "resid_pre": block.module,
        "z": block.output_projection,
        "pattern": block.attention,
        "attn_out": block.attention_write,
        "mlp_out": block.mlp_write,
        "resid_post": block.module,
    }
    return (modules[point.name],)


@contextmanager
def watching(
    anatomy: Anatomy, see: See, points: Iterable[HookPointName | HookPoint], layers: Iterable[int] | None = None
) -> Iterator[None]:
    """Context in which every forward calls `see` with these points (as in `points_at`), in order of computation.

    `see` gets the model's own tensor, not a copy. Patterns are available from eager attention only. The model's lock
    must be held.

    Raises:
        ValueError: a point is a sum of others.
        SelfCheckFailed: in a forward, the attention returns no weights.
    """
    handles: list[Handle] = []
    try:
        for point in points_at(anatomy, points, layers):
            shown = partial(_show, see, point, (anatomy.heads, anatomy.head_dim))
            handles += [_attached(module, point, shown) for module in modules_of(anatomy, point)]
        yield
    finally:
        for handle in handles:
            handle.remove()


def _show(see: See, point: HookPoint, heads: tuple[int, int], passing: torch.Tensor) -> None:
    see(point, passing.unflatten(-1, heads) if point.name == "z" else passing)


def _attached(module: nn.Module, point: HookPoint, show: Callable[[torch.Tensor], None]) -> Handle:
    def before(_module: nn.Module, args: tuple[torch.Tensor, ...], kwargs: dict[str, torch.Tensor]) -> None:
        show(args[0] if args else kwargs["hidden_states"])

    def after(_module: nn.Module, _args: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        show(first_of(output))

    def weighed(module: nn.Module, _args: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        show(_weights_of(module, output))

    if point.name in ENTERING:
        return module.register_forward_pre_hook(before, with_kwargs=True)
    return module.register_forward_hook(weighed if point.name == "pattern" else after)


def _weights_of(module: nn.Module, output: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
    weights = output[1] if isinstance(output, tuple) and len(output) > 1 else None
    if not isinstance(weights, torch.Tensor) or weights.dim() != 4:
        raise SelfCheckFailed(
            f"{type(module).__name__} shows no attention weights.",
            hint="This architecture's patterns cannot be seen; please report the model.",
        )
    return weights


@contextmanager
def hooked(hooks: Sequence[tuple[nn.Module, Callable[..., None]]]) -> Iterator[None]:
    """Context in which each hook is called after every forward of its module. The model's lock must be held."""
    handles = [module.register_forward_hook(hook) for module, hook in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def first_of(output: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The hidden states of a module's output, which is a tensor or a tuple that begins with it."""
    return output if isinstance(output, torch.Tensor) else cast("tuple[torch.Tensor, ...]", output)[0]
