"""Attention patterns as the model computes them, processed layer by layer and never all stored.

Fused attention does not return weights, so the model's own eager attention is used, with its soft caps, sliding windows
and grouped heads. A forward holds the weights of one layer at a time.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from explaind.contract.blocks.hook_points import HookPoint
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.dry_run import forward
from explaind_worker.engine.batching.memory_estimate import Footprint
from explaind_worker.engine.scoring.rows import FloatArray
from explaind_worker.models.loading.loaded import LoadedModel
from explaind_worker.models.structure.attention_implementation import using_attention
from explaind_worker.models.structure.hook_points import watching

# layer, and the weights [head, query, key] of all positions
SeePattern = Callable[[int, torch.Tensor], None]

OVER_ALL = ("previous_token", "first_token", "current_token", "sink", "entropy")


def watch_patterns(model: LoadedModel, token_ids: Sequence[int], see: SeePattern, *, meter: CostMeter) -> None:
    """Runs the tokens through the blocks and calls `see` with every layer's weights; not in a dry run.

    Raises:
        SelfCheckFailed: the model's attention returns no weights.
    """

    def show(point: HookPoint, weights: torch.Tensor) -> None:
        assert point.layer is not None  # noqa: S101 - patterns always belong to a layer
        see(point.layer, weights[0])

    def run() -> None:
        ids = torch.tensor([list(token_ids)], device=model.device)
        with using_attention(model.network, "eager"), watching(model.anatomy, show, ["pattern"]):
            model.network.base_model(input_ids=ids, use_cache=False)

    unfused, tokens = replace(Footprint.of(model), fused=False), len(token_ids)
    needed = unfused.forward_bytes(1, tokens, reads=0)
    forward(model, run, placeholder=lambda: None, meter=meter, tokens=tokens, bytes=needed)


class PatternScores:
    """Pattern scores of each head; `see` takes the layers one after the other.

    `sinks` are attention-sink positions. Scores are means over the queries `looking` (None: all but the first, which
    can attend to itself alone) to which the score applies.
    """

    def __init__(self, token_ids: Sequence[int], sinks: Sequence[int] = (0,), looking: range | None = None) -> None:
        ids = np.array(token_ids)
        places = np.arange(len(ids))
        self._queries = np.zeros(len(ids), dtype=bool)
        self._queries[slice(1, None) if looking is None else slice(looking.start, looking.stop)] = True
        same = (ids[:, None] == ids[None]) & (places[:, None] > places[None])  # [query, key]: an earlier occurrence
        after = np.zeros_like(same)
        after[:, 1:] = same[:, :-1]
        after &= places[:, None] > places[None]
        of_sinks = np.isin(places, sinks)[None] & (places[:, None] >= places[None])
        self._wanted = {
            "previous_token": places[:, None] == places[None] + 1,
            "duplicate_token": same,
            "induction": after,
            "first_token": np.broadcast_to(places[None] == 0, same.shape),
            "current_token": places[:, None] == places[None],
            "sink": of_sinks,
        }
        self._found: dict[str, list[list[float]]] = {name: [] for name in [*self._wanted, "entropy"]}

    def see(self, _layer: int, weights: torch.Tensor) -> None:
        """Takes the next layer's weights [head, query, key]."""
        wide = weights.float()
        for name, wanted in self._wanted.items():
            looking = self._queries if name in OVER_ALL else self._queries & wanted.any(1)
            if not looking.any():
                continue
            mask = torch.from_numpy(wanted & looking[:, None]).to(wide)
            # Row by row first: one sum over all positions of a long prompt would lose precision.
            per_query = torch.einsum("hqk,qk->hq", wide, mask)
            self._found[name].append((per_query.double().sum(-1) / int(looking.sum())).tolist())
        if self._queries.any():
            surprise = -torch.special.xlogy(wide, wide).sum(-1)[:, torch.from_numpy(self._queries)]
            self._found["entropy"].append(surprise.double().mean(-1).tolist())

    def scores(self, layers: int, heads: int) -> Mapping[str, list[list[float]] | None]:
        """Every score [layer][head]; None for a score that applies to no query. A single token gives zeros."""
        nothing = [[0.0] * heads for _ in range(layers)]
        return {name: found or (nothing if name in OVER_ALL else None) for name, found in self._found.items()}


class KeptPatterns:
    """Keeps the weights [query, key] of some heads (layer, head) at some queries, from the layers passed to `see`.

    Zeros for layers that were not passed.
    """

    def __init__(self, heads: Sequence[tuple[int, int]], queries: Sequence[int], *, tokens: int) -> None:
        self._heads, self._queries = heads, torch.tensor(list(queries))
        self._kept: dict[tuple[int, int], FloatArray] = dict.fromkeys(heads, np.zeros((len(queries), tokens)))

    def see(self, layer: int, weights: torch.Tensor) -> None:
        """Takes the layer's weights [head, query, key]."""
        for head in [head for of_layer, head in self._heads if of_layer == layer]:
            rows = weights[head].index_select(0, self._queries.to(weights.device))
            self._kept[layer, head] = rows.float().cpu().double().numpy()

    @property
    def patterns(self) -> list[FloatArray]:
        """The weights of each head, in the order given."""
        return [self._kept[head] for head in self._heads]
