"""The value function: coalitions in, scores of continuation tokens out.

Everything between (what is evaluated once, how rows share a batch) is this module's own business.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from explaind_worker.engine.backoff import Backoff
from explaind_worker.engine.limits import BatchLimits
from explaind_worker.engine.memory import Footprint
from explaind_worker.engine.meter import Meter
from explaind_worker.engine.players import BoolArray, Players, TokenArray
from explaind_worker.engine.prefixes import best_split
from explaind_worker.engine.rehearsal import made_up, rehearse_batch, rehearse_tree
from explaind_worker.models.loading import LoadedModel
from explaind_worker.models.reading import only_positions
from explaind_worker.models.sketch import Sketch

FloatArray = NDArray[np.float64]
Checkpoint = Callable[[str, int, int | None, str], None]
_KeyedRow = tuple[tuple[int, bytes], TokenArray]  # whose answer it is, and what the model reads

SLAB = 4096  # coalitions whose token rows are in memory at once


@dataclass(frozen=True)
class TokenScores:
    """`logprobs` and `logits` [coalition, token], the tokens of all continuations side by side."""

    logprobs: FloatArray
    logits: FloatArray


@dataclass(frozen=True)
class _Group:
    """Continuations that differ in their last token at most: one row of tokens answers all of them."""

    fed: TokenArray  # [token]: what the model reads of the continuation
    read: torch.Tensor  # [token, continuation]: which token is scored where
    columns: tuple[NDArray[np.int64], ...]  # for each continuation its columns in the answer


class ValueFunction:
    """Scores of the tokens of `continuations` after a prompt of which some units are absent.

    Calling it with coalitions [coalition, unit] gives `TokenScores`. Equal token rows are evaluated once in the
    life of the object; rows of similar length share a batch, and what a batch's rows begin with alike is evaluated
    once; logits exist at the scored positions only. A batch that runs out of memory is halved.
    """

    def __init__(
        self,
        model: LoadedModel,
        players: Players,
        continuations: Sequence[Sequence[int]],
        *,
        meter: Meter,
        checkpoint: Checkpoint,
        limits: BatchLimits | None = None,
    ) -> None:
        self._model = model
        self._players = players
        self._groups = _grouped(continuations)
        self._width = sum(len(c) for c in continuations)
        self._cost = [len(c) - 1 for c in continuations]
        self._meter = meter
        self._checkpoint = checkpoint
        self._limits = limits or BatchLimits.for_device(model.device)
        self._footprint = Footprint.of(model)
        self._backoff = Backoff(meter)
        self._shares = _shares_prefixes(model)
        self._known: dict[tuple[int, bytes], FloatArray] = {}  # [kind, token, continuation]

    def __call__(self, coalitions: BoolArray) -> TokenScores:
        """Scores for each coalition [coalition, unit], in order."""
        total, groups = len(coalitions), len(self._groups)
        scores = np.empty((2, total, self._width))
        for start in range(0, total, SLAB):
            rows = list(self._players.rows(coalitions[start : start + SLAB]))
            end = start + len(rows)
            self._meter.tokens_asked += sum(len(row) + cost for row in rows for cost in self._cost)
            for number, group in enumerate(self._groups):

                def report(share: float, start: int = start, count: int = len(rows), number: int = number) -> None:
                    done = start + int(count * (number + share) / groups)
                    self._checkpoint("evaluating", done, total, "coalitions")

                answers = self._answers(number, group, rows, report)  # [coalition, kind, token, continuation]
                for continuation, columns in enumerate(group.columns):
                    scores[:, start:end, columns] = answers[..., continuation].transpose(1, 0, 2)
        return TokenScores(logits=scores[0], logprobs=scores[1])

    def _answers(
        self, number: int, group: _Group, rows: list[TokenArray], report: Callable[[float], None]
    ) -> FloatArray:
        keys = [(number, blake2b(row.tobytes(), digest_size=16).digest()) for row in rows]
        missing = {key: row for key, row in zip(keys, rows, strict=True) if key not in self._known}
        done = 0
        report(0.0)
        if isinstance(self._model, Sketch):
            self._rehearse(missing, group)
            missing = {}
        for batch in self._batches(missing.items(), group):
            for part, answers in self._backoff.halving(batch, lambda part: self._forward(part, group)):
                for (key, _), answer in zip(part, answers, strict=True):
                    self._known[key] = answer
                done += len(part)
                report(done / len(missing))
        return np.stack([self._known[key] for key in keys])

    def _rehearse(self, rows: dict[tuple[int, bytes], TokenArray], group: _Group) -> None:
        """Counts what `rows` would cost; their answers are made up."""
        meter, footprint, reads = self._meter, self._footprint, len(group.read)
        if self._shares and rows:
            whole = [np.concatenate([row, group.fed]) for row in rows.values()]
            longest = max(len(row) for row in whole)

            def bytes_of(nodes: int) -> int:
                alike = ceil(nodes / longest)  # whole rows of as many nodes
                return footprint.forward_bytes(alike, longest, reads=reads, cached=True)

            most = self._limits.tokens
            while most > longest and self._limits.bytes is not None and bytes_of(most) > self._limits.bytes:
                most //= 2
            rehearse_tree(whole, reads, meter=meter, most_nodes=most, bytes_of=bytes_of)
        else:
            for batch in self._batches(rows.items(), group):
                longest = len(batch[-1][1]) + len(group.fed)
                rehearse_batch(len(batch), longest, reads=reads, meter=meter, footprint=footprint)
        for key in rows:
            self._known[key] = made_up(key[1], (2, *group.read.shape))

    def _batches(self, rows: Iterable[_KeyedRow], group: _Group) -> Iterator[list[_KeyedRow]]:
        """Rows in order of length, then of their tokens, as many to a batch as the limits allow; at least one."""
        batch: list[_KeyedRow] = []
        for item in sorted(rows, key=lambda item: (len(item[1]), item[1].tobytes())):
            if batch and not self._fits(len(batch) + 1, len(item[1]) + len(group.fed), len(group.read)):
                yield batch
                batch = []
            batch.append(item)
        if batch:
            yield batch

    def _fits(self, rows: int, tokens: int, reads: int) -> bool:
        limits = self._limits
        if rows * tokens > limits.tokens or rows * reads * self._model.anatomy.vocabulary > limits.logits:
            return False
        needed = self._footprint.forward_bytes(rows, tokens, reads=reads, cached=self._shares)
        return limits.bytes is None or needed <= limits.bytes

    def _forward(self, batch: Sequence[_KeyedRow], group: _Group) -> FloatArray:
        """Scores [row, kind, token, continuation] of one batch."""
        rows = [row for _, row in batch]
        lengths = np.array([len(row) + len(group.fed) for row in rows])
        # Padding stands on the right, where causal attention never looks.
        ids = np.zeros((len(rows), lengths.max()), dtype=np.int64)
        for place, row, length in zip(ids, rows, lengths, strict=True):
            place[:length] = np.concatenate([row, group.fed])
        reads, network = len(group.read), self._model.network
        split = best_split(ids, int(lengths[0]) - reads) if self._shares and lengths[0] == lengths[-1] else 0
        read_at = torch.from_numpy(lengths[:, None] - reads + np.arange(reads) - split).to(self._model.device)
        with self._model.lock, torch.inference_mode(), only_positions(self._model.anatomy.unembedding, read_at):
            prefixes = self._prefixes(ids[:, :split]) if split else None
            rest = torch.from_numpy(ids[:, split:]).to(self._model.device)
            logits = network(input_ids=rest, past_key_values=prefixes, use_cache=split > 0).logits.float()
        self._meter.forward(rest.numel(), reads=len(rows) * reads)
        chosen = logits.gather(-1, group.read.to(logits.device).expand(len(rows), -1, -1))
        logprobs = chosen - logits.logsumexp(-1, keepdim=True)
        return torch.stack([chosen, logprobs], dim=1).double().cpu().numpy()

    def _prefixes(self, beginnings: TokenArray) -> DynamicCache:
        """Keys and values of the rows' beginnings [row, token], each distinct one evaluated once."""
        distinct, owner = np.unique(beginnings, axis=0, return_inverse=True)
        cache = DynamicCache(config=self._model.network.config)
        input_ids = torch.from_numpy(distinct).to(self._model.device)
        self._model.network.base_model(input_ids=input_ids, past_key_values=cache, use_cache=True)
        self._meter.forward(input_ids.numel())
        cache.batch_select_indices(torch.from_numpy(owner.reshape(-1)).to(self._model.device))
        return cache


def _shares_prefixes(model: LoadedModel) -> bool:
    # A sliding window's cache forgets what lies outside it, and cannot be handed to rows that look from elsewhere.
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.network.config).layers)


def _grouped(continuations: Sequence[Sequence[int]]) -> list[_Group]:
    """Continuations by what the model reads of them: all tokens but the last."""
    members: dict[tuple[int, ...], list[int]] = {}
    for index, continuation in enumerate(continuations):
        members.setdefault(tuple(continuation[:-1]), []).append(index)
    ends = np.cumsum([len(c) for c in continuations])
    groups = []
    for fed, indices in members.items():
        read = torch.tensor([list(continuations[i]) for i in indices], dtype=torch.int64).T
        columns = tuple(np.arange(ends[i] - len(continuations[i]), ends[i]) for i in indices)
        groups.append(_Group(np.array(fed, dtype=np.int64), read.contiguous(), columns))
    return groups
