"""Scores of continuations under many edited runs of a model: heads ablated one at a time, activations patched …

An edited run equals the clean run below its first edit, so it joins the clean run's forward there (`sweep.forward`),
many to a forward. Models that do not support this are detected by a probe; their runs are read whole, from the first
layer on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import torch

from explaind_worker.engine.activations.interventions import Variant
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.dry_run import forward, placeholder
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.batching.memory_estimate import Footprint
from explaind_worker.engine.batching.oom_backoff import Backoff
from explaind_worker.engine.scoring.rows import FloatArray, grouped, scores_of
from explaind_worker.engine.scoring.value_function import ReportProgress, TokenScores
from explaind_worker.engine.sweep.runs import Base, Run, Swept, batches, swept_by
from explaind_worker.engine.sweep.support_check import why_whole
from explaind_worker.models.loading.loaded import LoadedModel
from explaind_worker.models.structure.logits_at import vocabulary_first


@dataclass(frozen=True)
class SweepQuestion:
    """A prompt, the continuations scored after it, and the edited runs in which they are scored."""

    prompt: tuple[int, ...]
    continuations: Sequence[tuple[int, ...]]
    variants: Sequence[Variant]


class Sweep:
    """Scores continuations in edited runs of one model.

    For each question the call returns `TokenScores` [variant, token], the clean run first, the tokens of all
    continuations concatenated. A forward that runs out of memory is halved.
    """

    def __init__(
        self, model: LoadedModel, *, meter: CostMeter, report_progress: ReportProgress, limits: BatchLimits
    ) -> None:
        self._model = model
        self._meter = meter
        self._report_progress = report_progress
        self._limits = limits
        self._footprint = Footprint.of(model)
        self._backoff = Backoff(meter)
        self._growing = (whole := why_whole(model)) is None
        if whole is not None:
            meter.dense_because = whole

    def __call__(self, questions: Sequence[SweepQuestion]) -> list[TokenScores]:
        """The scores of each question, in order."""
        runs = [run for number, question in enumerate(questions) for run in _runs(number, question)]
        self._meter.tokens_asked += sum(len(run.base.tokens) for run in runs)
        widths = [sum(map(len, question.continuations)) for question in questions]
        scores = [
            np.empty((2, 1 + len(question.variants), width)) for question, width in zip(questions, widths, strict=True)
        ]
        done = 0
        self._report_progress("running interventions", 0, len(runs), "runs")
        for batch in batches(runs, self._fits, self._model.lengths):
            for part, answers in self._backoff.halving(batch, self._forward):
                for run, answer in zip(part, answers, strict=True):
                    for position, columns in enumerate(run.base.group.columns):
                        scores[run.base.question][:, run.number, columns] = answer[..., position]
            done += len(batch)
            self._report_progress("running interventions", done, len(runs), "runs")
        for logits, logprobs in scores:
            self._meter.scored(logits, logprobs)
        return [TokenScores(logits=logits, logprobs=logprobs) for logits, logprobs in scores]

    def _fits(self, rows: int, length: int, reads: int) -> bool:
        limits = self._limits
        if rows * length > limits.tokens:
            return False
        return limits.bytes is None or self._footprint.forward_bytes(rows, length, reads=reads) <= limits.bytes

    def _forward(self, runs: Sequence[Run]) -> FloatArray:
        """Scores [run, kind, token, continuation] of one forward."""
        swept = swept_by(self._model, runs, growing=self._growing)
        tokens = swept.ids.shape[1]
        passed = round(swept.rows.row_blocks * tokens / len(self._model.anatomy.blocks))
        return forward(
            self._model,
            lambda: self._read(swept, runs),
            placeholder=lambda: np.stack([_placeholder(run) for run in runs]),
            meter=self._meter,
            tokens=passed,
            reads=swept.reads.numel(),
            bytes=self._footprint.forward_bytes(len(swept.reads), tokens, reads=swept.reads.shape[1]),
        )

    def _read(self, swept: Swept, runs: Sequence[Run]) -> FloatArray:
        """Scores of one forward, as `_forward`. The model's lock must be held."""
        with swept.rows.attached(narrow=self._growing):
            self._model.network.base_model(input_ids=swept.ids, use_cache=False)
            return self._answers(swept.rows.read, swept.row_of, runs)

    def _answers(self, hidden: torch.Tensor, row_of: Sequence[int], runs: Sequence[Run]) -> FloatArray:
        """Scores from the last block's resid_post [row, read, hidden], in slices of logits."""
        anatomy = self._model.anatomy
        reads, width = runs[0].base.kind
        at_once = max(1, self._limits.logits // (reads * anatomy.vocabulary))
        answers = np.empty((len(runs), 2, reads, width))
        with vocabulary_first(anatomy.unembedding):
            for begin in range(0, len(runs), at_once):
                part = slice(begin, begin + at_once)
                rows = torch.tensor(row_of[part], device=hidden.device)
                normed = anatomy.final_norm(hidden.index_select(0, rows).flatten(0, 1))
                chosen = torch.cat([run.base.group.read for run in runs[part]]).to(hidden.device)
                logits = anatomy.final_logits(anatomy.unembedding(normed)).float()
                answers[part] = scores_of(logits, chosen, rows=len(rows))
        return answers


def _runs(number: int, question: SweepQuestion) -> Iterator[Run]:
    for group in grouped(question.continuations):
        base = Base(number, (*question.prompt, *group.fed.tolist()), group)
        yield Run(base, 0, Variant())
        for index, variant in enumerate(question.variants, start=1):
            yield Run(base, index, variant)


def _placeholder(run: Run) -> FloatArray:
    """Equal scores for all runs of a base: no edit has an effect, so that a search takes the first of them.

    The first joins the forward lowest, which makes the following runs most expensive.
    """
    key = repr(run.base.tokens).encode()
    return placeholder(blake2b(key, digest_size=8).digest(), (2, *run.base.kind))
