"""Greedy continuations under many edited runs, such as each head ablated in turn.

The clean continuation is fed as a draft, and the sweep over it is the prefill of the edited runs: a run accepts draft
tokens as long as they are its own likeliest ones, and is continued separately only from the first that is not.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import torch
from transformers import DynamicCache

from explaind_worker.engine.activations.interventions import Variant
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.dry_run import computed, forward, placeholder_token
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.batching.memory_estimate import Footprint
from explaind_worker.engine.batching.oom_backoff import Backoff
from explaind_worker.engine.scoring.rows import grouped
from explaind_worker.engine.scoring.value_function import ReportProgress
from explaind_worker.engine.sweep.forward import SweepPass
from explaind_worker.engine.sweep.runs import Base, Run, Swept, batches, swept_by
from explaind_worker.engine.sweep.support_check import why_whole
from explaind_worker.models.loading.loaded import LoadedModel
from explaind_worker.models.structure.logits_at import vocabulary_first

CPU_ROWS, GPU_ROWS = 256, 2_048  # that are continued together


def continuations_under(
    model: LoadedModel,
    prompts: Sequence[Sequence[int]],
    variants: Sequence[Sequence[Variant]],
    max_new_tokens: int,
    *,
    end_ids: Collection[int],
    meter: CostMeter,
    report_progress: ReportProgress,
    limits: BatchLimits,
) -> list[list[list[int]]]:
    """For each prompt the greedy continuation of the clean run, and then of each of its variants.

    Continuations exclude the end token. Equal to generating each one separately, up to rounding. If longer rows have
    other rotary factors, runs are read again from the start when they cross a length border.
    """
    generation = _Generation(model, max_new_tokens, frozenset(end_ids), meter, report_progress, limits)
    clean = generation.of([(tuple(prompt), (), [Variant()]) for prompt in prompts], "generating")
    drafts = [tuple(said[0]) for said in clean]
    changed = generation.of(
        [(tuple(prompt), draft, list(own)) for prompt, draft, own in zip(prompts, drafts, variants, strict=True)],
        "running interventions",
    )
    return [
        [_without_end(said, end_ids) for said in [*first, *others]]
        for first, others in zip(clean, changed, strict=True)
    ]


@dataclass(eq=False)
class _Saying:
    """One run's continuation so far.

    Its first `before` tokens are read together with the prompt, in row `row` of that forward; `draft` are the proposed
    tokens after those, and `last` is the greatest length for which its cache is valid.
    """

    question: int
    number: int
    variant: Variant
    prompt: tuple[int, ...]
    whole_draft: tuple[int, ...]
    before: int = 0
    draft: tuple[int, ...] = ()
    last: int = 0
    row: int = 0
    said: list[int] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Number of tokens before the next one."""
        return len(self.prompt) + len(self.said)

    def begin(self, last: int) -> tuple[int, ...]:
        """The tokens read at once: all so far, and the rest of the draft, up to length `last`."""
        self.before, self.last = len(self.said), last
        follows = tuple(self.said) == self.whole_draft[: self.before]
        # The last token of a draft is compared, not fed.
        self.draft = self.whole_draft[self.before :][: last - self.length + 1] if follows else ()
        return (*self.prompt, *self.said, *self.draft[:-1])


@dataclass
class _Generation:
    """Greedy continuations of many runs, with drafts."""

    model: LoadedModel
    max_new_tokens: int
    end_ids: frozenset[int]
    meter: CostMeter
    report_progress: ReportProgress
    limits: BatchLimits

    def __post_init__(self) -> None:
        self._footprint = Footprint.of(self.model)
        self._backoff = Backoff(self.meter)
        self._growing = (whole := why_whole(self.model)) is None
        if whole is not None:
            self.meter.dense_because = whole

    def of(
        self, asked: Sequence[tuple[tuple[int, ...], tuple[int, ...], Sequence[Variant]]], phase: str
    ) -> list[list[list[int]]]:
        """For each (prompt, draft, variants) the continuation of every variant."""
        of_question = [
            [_Saying(question, number, variant, prompt, draft) for number, variant in enumerate(variants)]
            for question, (prompt, draft, variants) in enumerate(asked)
        ]
        everything = [saying for one in of_question for saying in one]
        self.meter.tokens_asked += sum(saying.length + self.max_new_tokens - 1 for saying in everything)
        done = 0
        self.report_progress(phase, 0, len(everything), "continuations")
        going = everything
        while going:
            sayings = self._runs(going)
            say = partial(self._say, sayings)
            for batch in batches(list(sayings), self._fits, self.model.lengths):
                for part, _ in self._backoff.halving(batch, say):
                    done += sum(self._ended(sayings[run]) for run in part)
                    self.report_progress(phase, done, len(everything), "continuations")
            going = [saying for saying in going if not self._ended(saying)]
        return [[saying.said for saying in one] for one in of_question]

    def _runs(self, sayings: Sequence[_Saying]) -> dict[Run, _Saying]:
        """The runs that read the continuations so far and their drafts; those with equal tokens share a base."""
        bases: dict[tuple[int, tuple[int, ...], tuple[int, ...]], Base] = {}
        runs: dict[Run, _Saying] = {}
        for saying in sayings:
            tokens = saying.begin(self.model.lengths.last(saying.length))
            key = (saying.question, tokens, saying.draft)
            base = bases.setdefault(key, Base(saying.question, tokens, grouped([saying.draft or (0,)])[0]))
            runs[Run(base, saying.number, saying.variant)] = saying
        return runs

    def _fits(self, rows: int, length: int, reads: int) -> bool:
        if rows * length > self.limits.tokens:
            return False
        return self.limits.bytes is None or self._bytes(rows, length, reads) <= self.limits.bytes

    def _bytes(self, rows: int, length: int, reads: int) -> int:
        kept = self._footprint.cache_bytes(rows, length)
        return self._footprint.forward_bytes(rows, length, reads=reads) + kept

    def _say(self, said_by: Mapping[Run, _Saying], runs: Sequence[Run]) -> bool:
        """Continues all of them to their ends, or as far as their caches are valid."""
        sayings = [said_by[run] for run in runs]
        for saying in sayings:  # some may be finished already, by an attempt that ran out of memory
            del saying.said[saying.before :]
        swept = swept_by(self.model, runs, growing=self._growing)
        for saying, row in zip(sayings, swept.row_of, strict=True):
            saying.row = row
        cache = self._prefill(swept, sayings)
        # Those that accept most of the draft come last, so that continuations that run together end together.
        going = sorted((s for s in sayings if self._goes_on(s)), key=lambda s: len(s.said))
        for part in self._chunks(going):
            self._go_on(part, swept, cache)
        return True

    def _prefill(self, swept: Swept, sayings: Sequence[_Saying]) -> DynamicCache:
        """Reads prompts and drafts; afterwards the continuations hold the accepted tokens and the next one."""
        cache, tokens = DynamicCache(), swept.ids.shape[1]
        passed = round(swept.rows.row_blocks * tokens / len(self.model.anatomy.blocks))
        forward(
            self.model,
            lambda: self._read_drafts(swept, sayings, cache),
            placeholder=lambda: self._leave_drafts(sayings),
            meter=self.meter,
            tokens=passed,
            reads=swept.reads.numel(),
            bytes=self._bytes(len(swept.reads), tokens, swept.reads.shape[1]),
        )
        return cache

    def _leave_drafts(self, sayings: Sequence[_Saying]) -> None:
        """Placeholder for where runs leave their drafts: half way."""
        for saying in sayings:
            saying.said += [*saying.draft[: len(saying.draft) // 2], placeholder_token(self.model)]

    def _read_drafts(self, swept: Swept, sayings: Sequence[_Saying], cache: DynamicCache) -> None:
        """The prefill's forward. The model's lock must be held."""
        with swept.rows.attached(narrow=self._growing):
            self.model.network.base_model(input_ids=swept.ids, past_key_values=cache, use_cache=True)
            normed = self.model.anatomy.final_norm(swept.rows.read)
        likeliest = self._likeliest(normed.flatten(0, 1)).view(normed.shape[:2]).tolist()
        for saying in sayings:
            own = likeliest[saying.row]
            agreed = next((i for i, (a, b) in enumerate(zip(own, saying.draft, strict=False)) if a != b), None)
            whole = len(saying.draft) if saying.draft else 0
            saying.said += own[:whole] if agreed is None and saying.draft else own[: (agreed or 0) + 1]

    def _chunks(self, sayings: Sequence[_Saying]) -> Iterator[Sequence[_Saying]]:
        """Groups of continuations, each as large as the limits allow."""
        most = CPU_ROWS if self.model.device.type == "cpu" else GPU_ROWS
        if self.limits.bytes is not None and sayings:
            longest = max(len(saying.prompt) for saying in sayings) + self.max_new_tokens
            each = 2 * self._footprint.cache_bytes(1, longest) + self._footprint.forward_bytes(1, 1)
            most = max(1, min(most, self.limits.bytes // each))
        for begin in range(0, len(sayings), most):
            yield sayings[begin : begin + most]

    def _go_on(self, sayings: Sequence[_Saying], swept: Swept, prefilled: DynamicCache) -> None:
        """Token by token, each run with its own edits, until all have ended or their caches are no longer valid."""
        going = list(sayings)
        cache, known = computed(
            self.model,
            lambda: _left_padded(prefilled, swept, going),
            placeholder=lambda: (prefilled, torch.ones(len(going), 1, dtype=torch.bool)),
        )
        while going:
            likeliest, known = self._step(going, cache, known)
            for saying, token in zip(going, likeliest, strict=True):
                if self._goes_on(saying):
                    saying.said.append(token)
            left = [index for index, saying in enumerate(going) if self._goes_on(saying)]
            # If rotary factors depend on length, a finished row must not outgrow its length class.
            if len(left) <= len(going) // 2 or (self.model.lengths.vary and len(left) < len(going)):
                going = [going[index] for index in left]
                if left:
                    kept = torch.tensor(left, device=known.device)
                    cache.batch_select_indices(kept)
                    known = known[kept]

    def _step(
        self, going: Sequence[_Saying], cache: DynamicCache, known: torch.Tensor
    ) -> tuple[list[int], torch.Tensor]:
        """The likeliest next token of each, and the mask of valid cache positions afterwards [row, place]."""
        return forward(
            self.model,
            lambda: self._read_next(going, cache, known),
            placeholder=lambda: ([placeholder_token(self.model)] * len(going), known),
            meter=self.meter,
            tokens=len(going),
            reads=len(going),
        )

    def _read_next(
        self, going: Sequence[_Saying], cache: DynamicCache, known: torch.Tensor
    ) -> tuple[list[int], torch.Tensor]:
        """One step's forward. The model's lock must be held."""
        # A finished run is fed its last token again until it leaves the batch.
        places = known.sum(dim=1)
        known = torch.cat([known, known.new_ones(len(going), 1)], dim=1)
        rows = SweepPass(
            self.model.anatomy,
            [saying.variant for saying in going],
            range(len(going)),
            bases=len(going),
            first=places.tolist(),
            growing=False,
        )
        with rows.attached():
            hidden = self.model.network.base_model(
                input_ids=torch.tensor([saying.said[-1:] for saying in going], device=known.device),
                attention_mask=known.long(),
                position_ids=places[:, None],
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state[:, -1]
        return self._likeliest(hidden).tolist(), known

    def _likeliest(self, normed: torch.Tensor) -> torch.Tensor:
        """The likeliest tokens after outputs [place, hidden] of the final norm. The model's lock must be held."""
        anatomy = self.model.anatomy
        at_once = max(1, self.limits.logits // anatomy.vocabulary)
        with vocabulary_first(anatomy.unembedding):
            # Scaling and soft caps keep the order of logits.
            return torch.cat([anatomy.unembedding(part).argmax(dim=-1) for part in normed.split(at_once)])

    def _goes_on(self, saying: _Saying) -> bool:
        """Whether it is unfinished and the cache of its last forward is valid for the next token."""
        return not self._ended(saying) and saying.length <= saying.last

    def _ended(self, saying: _Saying) -> bool:
        said = saying.said
        return len(said) >= self.max_new_tokens or (bool(said) and said[-1] in self.end_ids)


def _left_padded(
    prefilled: DynamicCache, swept: Swept, sayings: Sequence[_Saying]
) -> tuple[DynamicCache, torch.Tensor]:
    """Keys and values of those runs, and the mask of valid positions [row, place].

    Left-padded, since sliding windows count cache places, not positions.
    """
    rows = torch.tensor([saying.row for saying in sayings])
    lengths = torch.tensor([saying.length - 1 for saying in sayings])
    longest = int(lengths.max())
    places = torch.arange(longest) - (longest - lengths)[:, None]
    known = places >= 0
    places = places.clamp(min=0)
    cache = DynamicCache()
    for layer, kept in enumerate(prefilled.layers):
        keys, values = (cast("torch.Tensor", getattr(kept, name)) for name in ("keys", "values"))
        asked, at = swept.rows.attended(layer, rows).to(keys.device)[:, None], places.to(keys.device)
        cache.update(keys[asked, :, at].transpose(1, 2), values[asked, :, at].transpose(1, 2), layer)
    return cache, known.to(swept.ids.device)


def _without_end(said: Sequence[int], end_ids: Collection[int]) -> list[int]:
    return list(said[:-1] if said and said[-1] in end_ids else said)
