"""Continues many prompts at once, each as it would be continued alone."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from explaind.contract.blocks.hook_points import HookPoint
from explaind_worker.engine.batching.batches import batched
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.dry_run import computed, placeholder, placeholder_token
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.batching.memory_estimate import Footprint
from explaind_worker.engine.batching.oom_backoff import Backoff
from explaind_worker.engine.scoring.value_function import ReportProgress
from explaind_worker.models.loading.loading import LoadedModel
from explaind_worker.models.structure.hook_points import See, watching

Residuals = NDArray[np.float32]
# Whether a prompt, told by its index, is to be continued no further after these tokens.
Stops = Callable[[int, Sequence[int]], bool]


@dataclass(frozen=True)
class Continued:
    """What was said after a prompt, without the token that ends it, and why there is no more.

    `residuals` [layer, hidden] is what leaves every block at the prompt's last token, where it was asked for.
    """

    token_ids: tuple[int, ...]
    finish: Literal["end", "stop", "length"]
    residuals: Residuals | None = None


@dataclass(frozen=True)
class _Prompt:
    index: int
    token_ids: tuple[int, ...]


class Continuations:
    """Greedy continuations of prompts that share forwards: padded on the left, with positions that do not count it.

    A row that has ended leaves its batch. Called with prompts it gives what greedy generation of one after the other
    would. A batch that runs out of memory is halved.
    """

    def __init__(
        self,
        model: LoadedModel,
        max_new_tokens: int,
        *,
        meter: CostMeter,
        report_progress: ReportProgress,
        limits: BatchLimits,
        residuals: bool = False,
    ) -> None:
        self._model = model
        self._new = max_new_tokens
        self._meter = meter
        self._report_progress = report_progress
        self._limits = limits
        self._residuals = residuals
        self._footprint = Footprint.of(model)
        self._backoff = Backoff(meter)

    def __call__(self, prompts: Sequence[Sequence[int]], stops: Stops | None = None) -> list[Continued]:
        """The continuations, in order of the prompts."""
        found: dict[int, Continued] = {}
        total = len(prompts) * self._new

        def run(batch: Sequence[_Prompt]) -> list[Continued]:
            done = len(found) * self._new
            return computed(
                self._model,
                lambda: self._continued(batch, stops or _never, done, total),
                placeholder=lambda: self._placeholders(batch, done, total),
            )

        for batch in self._batches([_Prompt(index, tuple(ids)) for index, ids in enumerate(prompts)]):
            for part, answers in self._backoff.halving(batch, run):
                found.update(zip((prompt.index for prompt in part), answers, strict=True))
        return [found[index] for index in range(len(prompts))]

    def _batches(self, prompts: Sequence[_Prompt]) -> Iterator[list[_Prompt]]:
        """Prompts in order of length, as many to a batch as the limits allow; at least one."""
        by_length = sorted(prompts, key=lambda prompt: len(prompt.token_ids))
        return batched(by_length, lambda batch, prompt: self._fits(len(batch) + 1, len(prompt.token_ids)))

    def _fits(self, rows: int, longest: int) -> bool:
        limits = self._limits
        if rows * longest > limits.tokens or rows * self._model.anatomy.vocabulary > limits.logits:
            return False
        # The limits are what is left beside the cache of one row.
        kept = self._footprint.cache_bytes(1, longest + self._new)
        return limits.bytes is None or self._bytes(rows, longest) - kept <= limits.bytes

    def _bytes(self, rows: int, longest: int) -> int:
        growth = self._footprint.cache_bytes(rows, self._new)
        return self._footprint.forward_bytes(rows, longest, cached=True) + growth

    def _continued(self, batch: Sequence[_Prompt], stops: Stops, done: int, total: int) -> list[Continued]:
        rows = _Rows(self._model, [prompt.token_ids for prompt in batch], self._meter, residuals=self._residuals)
        said: list[list[int]] = [[] for _ in batch]
        finish: list[Literal["end", "stop", "length"]] = ["length"] * len(batch)
        going = list(range(len(batch)))
        for step in range(self._new):
            self._report_progress("generating", done + step * len(batch), total, "tokens")
            staying = []
            for place, (row, token_id) in enumerate(zip(going, rows.step(), strict=True)):
                if token_id in self._model.end_ids:
                    finish[row] = "end"
                    continue
                said[row].append(token_id)
                if stops(batch[row].index, said[row]):
                    finish[row] = "stop"
                else:
                    staying.append(place)
            if not staying:
                break
            if len(staying) < len(going):
                rows.keep(staying)
                going = [going[place] for place in staying]
        seen = rows.residuals if self._residuals else [None] * len(batch)
        return [Continued(tuple(ids), how, residuals) for ids, how, residuals in zip(said, finish, seen, strict=True)]

    def _placeholders(self, batch: Sequence[_Prompt], done: int, total: int) -> list[Continued]:
        """Continuations as long as they may be; counts their forwards at once, as no text decides on an end."""
        longest = max(len(prompt.token_ids) for prompt in batch)
        self._report_progress("generating", done, total, "tokens")
        self._meter.expect(self._bytes(len(batch), longest))
        self._meter.forward(len(batch) * longest, reads=len(batch))
        for _ in range(self._new - 1):
            self._meter.forward(len(batch), reads=len(batch))
        shape = (len(self._model.anatomy.blocks), self._model.anatomy.hidden)
        return [
            Continued(
                (placeholder_token(self._model),) * self._new,
                "length",
                placeholder(prompt.index.to_bytes(8, "little"), shape).astype(np.float32) if self._residuals else None,
            )
            for prompt in batch
        ]


class _Rows:
    """The rows of a batch that are still going on: what they read next, and their keys and values."""

    def __init__(
        self, model: LoadedModel, prompts: Sequence[Sequence[int]], meter: CostMeter, *, residuals: bool
    ) -> None:
        self._model = model
        self._meter = meter
        self._watched = residuals
        self.residuals: list[Residuals] = []
        self._cache = DynamicCache(config=model.network.config)
        longest = max(map(len, prompts))
        ids = np.zeros((len(prompts), longest), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = prompt
            mask[row, longest - len(prompt) :] = 1
        self._next = torch.from_numpy(ids).to(model.device)
        # Rows of one length need no mask, and attention without one is faster.
        self._mask = None if mask.all() else torch.from_numpy(mask).to(model.device)
        self._positions = torch.from_numpy(np.maximum(mask.cumsum(axis=1) - 1, 0)).to(model.device)

    def step(self) -> list[int]:
        """The likeliest next token of every row; the rows then read it."""
        with self._model.lock, torch.inference_mode(), ExitStack() as stack:
            seen: list[torch.Tensor] = []
            if self._watched:
                stack.enter_context(watching(self._model.anatomy, _last_of(seen), ["resid_post"]))
            output = self._model.network(
                input_ids=self._next,
                attention_mask=self._mask,
                position_ids=self._positions,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,
            )
            if self._watched:
                self.residuals = list(torch.stack(seen, dim=1).float().cpu().numpy())
                self._watched = False  # only the prompts are looked at
        self._meter.forward(self._next.numel(), reads=len(self._next))
        chosen = output.logits[:, -1].float().argmax(-1)
        self._next, self._positions = chosen[:, None], self._positions[:, -1:] + 1
        if self._mask is not None:
            self._mask = torch.cat([self._mask, self._mask.new_ones(len(chosen), 1)], dim=1)
        return [int(token_id) for token_id in chosen.tolist()]

    def keep(self, places: Sequence[int]) -> None:
        """Only these rows go on."""
        kept = torch.tensor(places, device=self._next.device)
        self._cache.batch_select_indices(kept)
        self._next, self._positions = self._next[kept], self._positions[kept]
        if self._mask is not None:
            self._mask = self._mask[kept]


def _last_of(seen: list[torch.Tensor]) -> See:
    """Keeps what passes at the last position [row, hidden] of each layer."""

    def see(_point: HookPoint, passing: torch.Tensor) -> None:
        seen.append(passing[:, -1].clone())

    return see


def _never(_index: int, _token_ids: Sequence[int]) -> bool:
    return False
