"""Batched greedy generation, with the same results as prompt by prompt."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
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
from explaind_worker.models.loading.loaded import LoadedModel
from explaind_worker.models.structure.hook_points import See, watching

Residuals = NDArray[np.float32]
Finish = Literal["end", "stop", "length"]
# Whether to stop the prompt with this index after these tokens.
Stops = Callable[[int, Sequence[int]], bool]


@dataclass(frozen=True)
class Continued:
    """The continuation of a prompt, without the end token, and the finish reason.

    `residuals` [layer, hidden] is resid_post of every block at the prompt's last token, if requested.
    """

    token_ids: tuple[int, ...]
    finish: Finish
    residuals: Residuals | None = None


@dataclass(frozen=True)
class _Row:
    """A prompt and its continuation so far; `finish` is None until it ends."""

    index: int
    prompt: tuple[int, ...]
    said: tuple[int, ...] = ()
    finish: Finish | None = None
    residuals: Residuals | None = None

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The tokens read before the next one is generated."""
        return (*self.prompt, *self.said)


class Continuations:
    """Greedy continuations of prompts in shared forwards: left-padded, with position ids that skip the padding.

    A finished row leaves its batch, and so does one whose length calls for other rotary factors: it is read again from
    the start with others of its length class. A batch that runs out of memory is halved.
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
        rows = {index: _Row(index, tuple(ids)) for index, ids in enumerate(prompts)}
        total = len(prompts) * self._new

        def run(batch: Sequence[_Row]) -> list[_Row]:
            done = sum(self._counted(row) for row in rows.values())
            return computed(
                self._model,
                lambda: self._continued(batch, stops or _never, done, total),
                placeholder=lambda: self._placeholders(batch, done, total),
            )

        while going := [row for row in rows.values() if row.finish is None]:
            for batch in self._batches(going):
                for _, answers in self._backoff.halving(batch, run):
                    rows.update((row.index, row) for row in answers)
        self._report_progress("generating", total, total, "tokens")
        return [Continued(row.said, row.finish, row.residuals) for row in rows.values() if row.finish is not None]

    def _batches(self, rows: Sequence[_Row]) -> Iterator[list[_Row]]:
        """Rows of one length class by length, as many to a batch as the limits allow; at least one."""
        lengths = self._model.lengths

        def joins(batch: list[_Row], row: _Row) -> bool:
            longest = len(row.token_ids)
            return lengths.alike((len(batch[0].token_ids), longest)) and self._fits(len(batch) + 1, longest)

        return batched(sorted(rows, key=lambda row: len(row.token_ids)), joins)

    def _fits(self, rows: int, longest: int) -> bool:
        limits = self._limits
        if rows * longest > limits.tokens or rows * self._model.anatomy.vocabulary > limits.logits:
            return False
        # The limits already account for the cache of one row.
        kept = self._footprint.cache_bytes(1, longest + self._new)
        return limits.bytes is None or self._bytes(rows, longest) - kept <= limits.bytes

    def _bytes(self, rows: int, longest: int) -> int:
        growth = self._footprint.cache_bytes(rows, self._new)
        return self._footprint.forward_bytes(rows, longest, cached=True) + growth

    def _continued(self, batch: Sequence[_Row], stops: Stops, done: int, total: int) -> list[_Row]:
        """Continues the rows as far as their length class reaches."""
        watched = self._residuals and batch[0].residuals is None
        rows = _Rows(self._model, [row.token_ids for row in batch], self._meter, residuals=watched)
        found, going = list(batch), list(range(len(batch)))
        begun = sum(self._counted(row) for row in batch)
        while going:
            said = sum(self._counted(row) for row in found) - begun
            self._report_progress("generating", done + said, total, "tokens")
            staying = []
            for place, (index, token_id) in enumerate(zip(going, rows.step(), strict=True)):
                found[index] = self._said(found[index], token_id, stops)
                if found[index].finish is None and self._stays(batch[index], found[index]):
                    staying.append(place)
            if staying and len(staying) < len(going):
                rows.keep(staying)
            going = [going[place] for place in staying]
        if watched:
            found = [replace(row, residuals=seen) for row, seen in zip(found, rows.residuals, strict=True)]
        return found

    def _said(self, row: _Row, token_id: int, stops: Stops) -> _Row:
        """The row with one more token, or finished."""
        if token_id in self._model.end_ids:
            return replace(row, finish="end")
        said, finish = (*row.said, token_id), None
        if stops(row.index, said):
            finish = "stop"
        elif len(said) == self._new:
            finish = "length"
        return replace(row, said=said, finish=finish)

    def _counted(self, row: _Row) -> int:
        """The row's tokens in the progress; of one that has ended, all that it might have had."""
        return len(row.said) if row.finish is None else self._new

    def _stays(self, began: _Row, row: _Row) -> bool:
        """Whether the row's next forward is in the same length class as its batch's first."""
        return self._model.lengths.alike((len(began.token_ids), len(row.token_ids)))

    def _placeholders(self, batch: Sequence[_Row], done: int, total: int) -> list[_Row]:
        """Placeholder continuations of maximum length; counts their forwards together, as no text decides on an end."""
        longest = max(len(row.token_ids) for row in batch)
        self._report_progress("generating", done, total, "tokens")
        self._meter.expect(self._bytes(len(batch), longest))
        self._meter.forward(len(batch) * longest, reads=len(batch))
        steps = [self._steps(row) for row in batch]
        for step in range(1, max(steps)):
            going = sum(step < most for most in steps)
            self._meter.forward(going, reads=going)
        return [self._placeholder(row, most) for row, most in zip(batch, steps, strict=True)]

    def _steps(self, row: _Row) -> int:
        """Number of tokens a row may gain within its length class."""
        length = len(row.token_ids)
        return min(self._new - len(row.said), self._model.lengths.last(length) - length + 1)

    def _placeholder(self, row: _Row, steps: int) -> _Row:
        said = (*row.said, *(placeholder_token(self._model),) * steps)
        shape = (len(self._model.anatomy.blocks), self._model.anatomy.hidden)
        seen = placeholder(row.index.to_bytes(8, "little"), shape).astype(np.float32) if self._residuals else None
        return replace(row, said=said, finish="length" if len(said) == self._new else None, residuals=seen)


class _Rows:
    """The active rows of a batch: their next inputs, and their key/value cache."""

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
        # Rows of equal length need no mask, and attention without one is faster.
        self._mask = None if mask.all() else torch.from_numpy(mask).to(model.device)
        self._positions = torch.from_numpy(np.maximum(mask.cumsum(axis=1) - 1, 0)).to(model.device)

    def step(self) -> list[int]:
        """The likeliest next token of every row, which the rows then read."""
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
                self._watched = False  # only the prompts are observed
        self._meter.forward(self._next.numel(), reads=len(self._next))
        chosen = output.logits[:, -1].float().argmax(-1)
        self._next, self._positions = chosen[:, None], self._positions[:, -1:] + 1
        if self._mask is not None:
            self._mask = torch.cat([self._mask, self._mask.new_ones(len(chosen), 1)], dim=1)
        return [int(token_id) for token_id in chosen.tolist()]

    def keep(self, places: Sequence[int]) -> None:
        """Drops all rows but these."""
        kept = torch.tensor(places, device=self._next.device)
        self._cache.batch_select_indices(kept)
        self._next, self._positions = self._next[kept], self._positions[kept]
        if self._mask is not None:
            self._mask = self._mask[kept]


def _last_of(seen: list[torch.Tensor]) -> See:
    """Keeps the activations at the last position [row, hidden] of each layer."""

    def see(_point: HookPoint, passing: torch.Tensor) -> None:
        seen.append(passing[:, -1].clone())

    return see


def _never(_index: int, _token_ids: Sequence[int]) -> bool:
    return False
