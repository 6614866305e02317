"""Attention over a prefix tree: each node attends to the nodes on its path from the root.

Registered with transformers as an attention function, so that every family that looks its attention up there (GPT-2,
Llama, Mistral, Qwen, Gemma, GPT-NeoX, Phi …) can evaluate a tree. Rows with branches of similar length are processed
together: their keys and values are gathered from the packed nodes.
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

from explaind_worker.engine.scoring.prefix_tree import Chunk, IntArray
from explaind_worker.models.structure.attention_implementation import using_attention

NAME = "explaind_tree"
TRUNK, TRUNK_ROWS = 48, 4  # a prefix at least this long, shared by this many rows, is attended to once for all of them
SIMILAR = 8  # most by which a branch may be longer than the shortest one processed with it

# Arguments of an attention function that do not affect attention over a tree.
UNDERSTOOD = frozenset({"sliding_window", "softcap", "output_attentions", "use_cache", "is_causal", "position_ids"})

KeysAndValues = tuple[torch.Tensor, torch.Tensor]  # each [node, key head, head_dim]


@dataclass(frozen=True)
class GatherRoom:
    """Limits on keys gathered at once, and on scores per head materialized at once."""

    places: int
    scores: int


@dataclass
class _Bucket:
    """Rows processed together."""

    keys: torch.Tensor  # [row × place]: nodes, the carried ones first
    queries: torch.Tensor  # [row × query]: nodes without the carried ones
    kept: torch.Tensor | None  # mask of the queries that are nodes of the row's own branch; None for all of them
    answered: torch.Tensor  # the nodes of those
    query_places: torch.Tensor  # [row or 1, query, 1]
    rows: int
    masks: dict[int | None, torch.Tensor] = field(default_factory=dict)

    def mask(self, window: int | None, like: torch.Tensor) -> torch.Tensor:
        """Bias added to the scores [row or 1, 1, query, place], for a sliding window of that width."""
        if window not in self.masks:
            places = torch.arange(self.keys.numel() // self.rows, device=self.keys.device)
            seen = places <= self.query_places
            if window is not None:
                seen &= places > self.query_places - window
            zero = torch.zeros((), dtype=like.dtype, device=like.device)
            self.masks[window] = torch.where(seen, zero, -torch.inf)[:, None]
        return self.masks[window]


@dataclass(frozen=True)
class _Plan:
    """Grouping of a layer's attention: its buckets, and the prefix shared by all rows of the chunk.

    All queries attend to the `trunk` [place] together, and within their bucket to what their row adds. `climbing` are
    the trunk's nodes.
    """

    buckets: list[_Bucket]
    trunk: torch.Tensor | None = None
    climbing: _Bucket | None = None


class TreePass:
    """One forward of a chunk: the attention inputs of each layer, and the keys and values to carry on.

    `carried` are those of the row before the chunk, per layer; `left` those of the chunk's last row. In the `last`
    layer only the nodes that are read are computed.
    """

    def __init__(
        self, chunk: Chunk, carried: dict[nn.Module, KeysAndValues], last: nn.Module, *, room: GatherRoom
    ) -> None:
        self._device = next(last.parameters()).device
        self.left: dict[nn.Module, KeysAndValues] = {}
        self.reads = torch.from_numpy(chunk.reads).to(self._device)
        self._chunk, self._room = chunk, room
        self._carried = carried
        self._last = last
        self._path = torch.from_numpy(chunk.last_path).to(self._device)
        self._plans: dict[tuple[bool, bool], _Plan] = {}

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
        nodes = _Nodes.of(queries, keys, values, self._carried.get(layer))
        self.left[layer] = (nodes.keys.index_select(0, self._path), nodes.values.index_select(0, self._path))
        everything = window is None or window >= int(self._chunk.lengths.max())
        plan = self._plan(reading=layer is self._last, apart=everything and softcap is None)
        out = nodes.queries.new_zeros(*nodes.queries.shape[:2], values.shape[-1])
        for bucket in plan.buckets:
            own, mask = nodes.asked(bucket), bucket.mask(None if everything else window, nodes.queries)
            seen, said = nodes.seen(bucket.keys, bucket.rows)
            if plan.trunk is not None:
                answer = _over_trunk(own, (seen, said), nodes.seen(plan.trunk, 1), _for_groups(mask, nodes), scaling)
            else:
                answer = _attention(own, seen, said, _for_groups(mask, nodes), scaling, softcap)
            nodes.place(out, bucket, answer)
        if (climbing := plan.climbing) is not None:
            mask = _for_groups(climbing.mask(None, nodes.queries), nodes)
            answer = _attention(nodes.asked(climbing), *nodes.seen(climbing.keys, 1), mask, scaling, None)
            nodes.place(out, climbing, answer)
        return out.unsqueeze(0)

    def _plan(self, *, reading: bool, apart: bool) -> _Plan:
        """Plan of one layer; `reading`: only nodes that are read, `apart`: the trunk separately."""
        if (reading, apart) not in self._plans:
            self._plans[reading, apart] = self._planned(reading, apart)
        return self._plans[reading, apart]

    def _planned(self, reading: bool, apart: bool) -> _Plan:
        chunk, room, device = self._chunk, self._room, self._device
        length = chunk.trunk if apart and device.type == "cpu" and len(chunk.lengths) >= TRUNK_ROWS else 0
        if length < TRUNK:
            asked = chunk.reads_of_row if reading else chunk.lengths - chunk.starts
            return _Plan(list(_buckets(chunk, asked, room, device)))
        above = chunk.above(length)
        asked = chunk.reads_of_row if reading else above.lengths - above.starts
        buckets = list(_buckets(above, asked, room, device))
        trunk = torch.from_numpy(chunk.paths[0, :length]).to(device)
        own = np.array([length - int(chunk.starts[0])])
        climbs = not reading and own[0] > 0
        climbing = _bucket(chunk.below(length), np.array([0]), own, device) if climbs else None
        return _Plan(buckets, trunk, climbing)


@dataclass(frozen=True)
class _Nodes:
    """Queries [node, head, head_dim], and keys and values [node, key head, head_dim], the carried ones first."""

    queries: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor

    @classmethod
    def of(
        cls, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, carried: KeysAndValues | None
    ) -> "_Nodes":
        """The nodes of one layer, from tensors [1, head, node, head_dim]."""
        found = queries[0].transpose(0, 1).to(values.dtype)
        keys, values = keys[0].transpose(0, 1).to(values.dtype), values[0].transpose(0, 1)
        if carried is not None:
            keys, values = torch.cat([carried[0], keys]), torch.cat([carried[1], values])
        return cls(found, keys, values)

    @property
    def groups(self) -> int:
        """Number of query heads that share a key head."""
        return self.queries.shape[1] // self.keys.shape[1]

    def asked(self, bucket: _Bucket) -> torch.Tensor:
        """The bucket's queries [row, key head, group × query, head_dim]: heads sharing a key head one after another.

        Thus keys need not be repeated.
        """
        own = self.queries.index_select(0, bucket.queries)
        own = own.view(bucket.rows, -1, self.keys.shape[1], self.groups, own.shape[-1])
        return own.permute(0, 2, 3, 1, 4).reshape(bucket.rows, self.keys.shape[1], -1, own.shape[-1])

    def seen(self, places: torch.Tensor, rows: int) -> KeysAndValues:
        """Keys and values [row, key head, place, head_dim] at these places, reshaped to `rows` rows."""
        keys, values = self.keys.index_select(0, places), self.values.index_select(0, places)
        return (
            keys.view(rows, -1, *keys.shape[1:]).transpose(1, 2),
            values.view(rows, -1, *values.shape[1:]).transpose(1, 2),
        )

    def place(self, out: torch.Tensor, bucket: _Bucket, answer: torch.Tensor) -> None:
        """Writes the bucket's output [row, key head, group × query, head_dim] to its nodes in `out`."""
        answer = answer.view(bucket.rows, self.keys.shape[1], self.groups, -1, answer.shape[-1])
        answer = answer.permute(0, 3, 1, 2, 4).reshape(-1, *out.shape[1:])
        if bucket.kept is not None:
            answer = answer.index_select(0, bucket.kept)
        out.index_copy_(0, bucket.answered, answer)


def _for_groups(mask: torch.Tensor, nodes: _Nodes) -> torch.Tensor:
    return mask if nodes.groups == 1 else mask.repeat(1, 1, nodes.groups, 1)


def _over_trunk(
    queries: torch.Tensor, own: KeysAndValues, trunk: KeysAndValues, mask: torch.Tensor, scaling: float | None
) -> torch.Tensor:
    """Attention to a row's own positions and to the trunk: two softmaxes, merged by their normalisers."""
    rows, heads, count, head_dim = queries.shape
    together = queries.transpose(0, 1).reshape(1, heads, rows * count, head_dim)
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    below, low = flash(together, *trunk, scale=scaling)
    above, high = flash(queries, *own, attn_mask=mask, scale=scaling)
    below = below.view(heads, rows, count, -1).transpose(0, 1)
    share = torch.sigmoid(low.view(heads, rows, count).transpose(0, 1) - high.view(rows, heads, count))
    return torch.lerp(above, below, share[..., None].to(above.dtype))


def _attention(  # noqa: PLR0917 - arguments of attention
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
    """Rows grouped by their number of requested queries, as many to a bucket as the limits allow; at least one."""
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
    places = lengths[:, None] - counts.max() + np.arange(counts.max())  # [row, query]; those before 0 are unused
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
    """Context in which a forward of the packed nodes attends over the tree. The model's lock must be held."""
    token = _current.set(tree_pass)
    try:
        with using_attention(network, NAME):
            yield
    finally:
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
    """The attention function of one layer in transformers' interface; the tree replaces the mask."""
    unknown = [name for name, value in others.items() if value is not None and name not in UNDERSTOOD]
    if unknown:
        raise NotATree(f"its attention takes {', '.join(unknown)}")
    tree_pass = _current.get()
    attended = tree_pass.attend(module, query, key, value, scaling=scaling, window=sliding_window, softcap=softcap)
    return attended, None


class NotATree(Exception):
    """This attention cannot be computed over a tree; the message gives the reason."""


def _no_mask(*_: object, **__: object) -> None:
    """No mask: the tree determines which nodes attend to which."""


AttentionInterface.register(NAME, _tree_attention)
AttentionMaskInterface.register(NAME, _no_mask)
