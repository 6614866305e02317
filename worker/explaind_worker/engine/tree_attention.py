"""Attention over a tree of prefixes: each node attends to the nodes on the way from the root to it.

Registered with transformers as an attention function of its own, so that every family that takes its attention from
there (GPT-2, Llama, Mistral, Qwen, Gemma, GPT-NeoX, Phi …) can read a tree. Rows whose branches are of similar length
are attended to together: their keys and values are gathered from the packed nodes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface
from transformers.modeling_utils import AttentionInterface

from explaind_worker.engine.tree import Chunk, IntArray

NAME = "explaind_tree"
SIMILAR = 8  # branches may be so many nodes longer than the shortest they are attended to with

# What an attention may say beside queries, keys and values without changing what a tree's attention computes.
UNDERSTOOD = frozenset({"sliding_window", "softcap", "output_attentions", "use_cache", "is_causal", "position_ids"})

KeysAndValues = tuple[torch.Tensor, torch.Tensor]  # each [node, key head, head_dim]


@dataclass(frozen=True)
class GatherRoom:
    """How many places of keys are gathered at once, and how many scores of a head are written out."""

    places: int
    scores: int


@dataclass
class _Bucket:
    """Rows that are attended to together."""

    keys: torch.Tensor  # [row × place]: nodes, the carried first
    queries: torch.Tensor  # [row × query]: nodes without the carried
    kept: torch.Tensor | None  # which of the queries are nodes of the row's own branch; None for all of them
    answered: torch.Tensor  # the nodes of those
    query_places: torch.Tensor  # [row or 1, query, 1]
    rows: int
    masks: dict[int | None, torch.Tensor] = field(default_factory=dict)

    def mask(self, window: int | None, like: torch.Tensor) -> torch.Tensor:
        """What is added to the scores [row or 1, 1, query, place], for a sliding window of that width."""
        if window not in self.masks:
            places = torch.arange(self.keys.numel() // self.rows, device=self.keys.device)
            seen = places <= self.query_places
            if window is not None:
                seen &= places > self.query_places - window
            zero = torch.zeros((), dtype=like.dtype, device=like.device)
            self.masks[window] = torch.where(seen, zero, -torch.inf)[:, None]
        return self.masks[window]


class TreePass:
    """One forward of a chunk: what the attention of each layer reads, and the keys and values it leaves behind.

    `carried` are those of the row before the chunk, for each layer; `left` those of the chunk's last row. In the
    `last` layer only the nodes that are read are computed.
    """

    def __init__(
        self, chunk: Chunk, carried: dict[nn.Module, KeysAndValues], last: nn.Module, *, room: GatherRoom
    ) -> None:
        device = next(last.parameters()).device
        self.left: dict[nn.Module, KeysAndValues] = {}
        self.reads = torch.from_numpy(chunk.reads).to(device)
        self._carried = carried
        self._last = last
        self._path = torch.from_numpy(chunk.last_path).to(device)
        self._buckets = list(_buckets(chunk, chunk.lengths - chunk.starts, room, device))
        self._reading = list(_buckets(chunk, chunk.reads_of_row, room, device))

    def attend(
        self,
        layer: nn.Module,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        *,
        scaling: float | None,
        window: int | None,
        softcap: float | None,
    ) -> torch.Tensor:
        """The attention's output [1, node, head, head_dim] of queries [1, head, node, head_dim] over the tree."""
        heads, nodes, head_dim = queries.shape[1:]
        found = queries[0].transpose(0, 1).to(values.dtype)
        keys, values = keys[0].transpose(0, 1).to(values.dtype), values[0].transpose(0, 1)
        if layer in self._carried:
            before = self._carried[layer]
            keys, values = torch.cat([before[0], keys]), torch.cat([before[1], values])
        self.left[layer] = (keys.index_select(0, self._path), values.index_select(0, self._path))
        out = queries.new_zeros(nodes, heads, values.shape[-1], dtype=values.dtype)
        for bucket in self._reading if layer is self._last else self._buckets:
            rows, groups = bucket.rows, heads // keys.shape[1]
            own = found.index_select(0, bucket.queries).view(rows, -1, keys.shape[1], groups, head_dim)
            # Query heads that share a key head are laid one after the other, so that keys need not be repeated.
            own = own.permute(0, 2, 3, 1, 4).reshape(rows, keys.shape[1], -1, head_dim)
            seen = keys.index_select(0, bucket.keys).view(rows, -1, keys.shape[1], head_dim).transpose(1, 2)
            said = values.index_select(0, bucket.keys).view(rows, -1, keys.shape[1], values.shape[-1]).transpose(1, 2)
            mask = bucket.mask(window, own)
            if groups > 1:
                mask = mask.repeat(1, 1, groups, 1)
            answer = _attention(own, seen, said, mask, scaling, softcap)
            answer = answer.view(rows, keys.shape[1], groups, -1, values.shape[-1]).permute(0, 3, 1, 2, 4)
            answer = answer.reshape(-1, heads, values.shape[-1])
            if bucket.kept is not None:
                answer = answer.index_select(0, bucket.kept)
            out.index_copy_(0, bucket.answered, answer)
        return out.unsqueeze(0)


def _attention(  # noqa: PLR0917 - what an attention takes
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor,
    scaling: float | None,
    softcap: float | None,
) -> torch.Tensor:
    if softcap is None:
        return functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=scaling)
    scores = queries @ keys.transpose(2, 3) * (keys.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = softcap * torch.tanh(scores / softcap) + mask
    return scores.softmax(-1, dtype=torch.float32).to(values.dtype) @ values


def _buckets(chunk: Chunk, asked: IntArray, room: GatherRoom, device: torch.device) -> Iterator[_Bucket]:
    """Rows by how many of their last places are asked for, as many to a bucket as there is room; at least one."""
    order = np.argsort(asked, kind="stable")
    begin = 0
    while begin < len(order):
        shortest = int(asked[order[begin]])
        end = int(np.searchsorted(asked[order], max(shortest + SIMILAR, shortest * 5 // 4), side="right"))
        length, queries = int(chunk.lengths[order[begin:end]].max()), int(asked[order[end - 1]])
        end = min(end, begin + max(1, min(room.places // length, room.scores // (length * queries))))
        yield _bucket(chunk, order[begin:end], asked, device)
        begin = end


def _bucket(chunk: Chunk, rows: IntArray, asked: IntArray, device: torch.device) -> _Bucket:
    lengths, counts = chunk.lengths[rows], asked[rows]
    places = lengths[:, None] - counts.max() + np.arange(counts.max())  # [row, query]; places before 0 are not asked
    nodes = np.take_along_axis(chunk.paths[rows], np.maximum(places, 0), axis=1) - chunk.carried
    queries = np.maximum(nodes, 0).reshape(-1)
    kept = np.flatnonzero(np.arange(counts.max()) >= counts.max() - counts[:, None])
    same = bool((lengths == lengths[0]).all())
    return _Bucket(
        keys=torch.from_numpy(chunk.paths[rows][:, : lengths.max()].reshape(-1)).to(device),
        queries=torch.from_numpy(queries).to(device),
        kept=None if len(kept) == len(queries) else torch.from_numpy(kept).to(device),
        answered=torch.from_numpy(queries[kept]).to(device),
        query_places=torch.from_numpy(np.maximum(places[: 1 if same else None], 0))[..., None].to(device),
        rows=len(rows),
    )


_current: ContextVar[TreePass] = ContextVar("tree_pass")


@contextmanager
def reading_a_tree(network: PreTrainedModel, tree_pass: TreePass) -> Iterator[None]:
    """Within this context a forward of the packed nodes attends over the tree. The model's lock must be held."""
    configs = {id(config): config for config in (network.config, network.config.get_text_config())}.values()
    before = [config._attn_implementation for config in configs]
    token = _current.set(tree_pass)
    try:
        for config in configs:
            config._attn_implementation = NAME
        yield
    finally:
        for config, implementation in zip(configs, before, strict=True):
            config._attn_implementation = implementation
        _current.reset(token)


def _tree_attention(  # noqa: PLR0917 - transformers' signature
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **others: object,
) -> tuple[torch.Tensor, None]:
    """The attention of one layer, as transformers asks for it; the tree says who sees whom, not the mask."""
    unknown = [name for name, value in others.items() if value is not None and name not in UNDERSTOOD]
    if unknown:
        raise NotATree(f"its attention takes {', '.join(unknown)}")
    tree_pass = _current.get()
    attended = tree_pass.attend(module, query, key, value, scaling=scaling, window=sliding_window, softcap=softcap)
    return attended, None


class NotATree(Exception):
    """This attention cannot be computed over a tree; the message says why."""


def _no_mask(*_: object, **__: object) -> None:
    """The tree says who sees whom."""


AttentionInterface.register(NAME, _tree_attention)
AttentionMaskInterface.register(NAME, _no_mask)
