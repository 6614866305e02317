"""Ablation runs: the questions, their metric, and the replacement values of ablated components."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch

from explaind.contract.blocks.ablation import NEW_TOKENS, AblationRequest
from explaind.contract.blocks.hook_points import HookPoint
from explaind.contract.blocks.questions import DatasetQuestions, InlineQuestions
from explaind.contract.errors import InvalidRequest, InvalidTarget, NonFiniteScore
from explaind_worker.engine.activations.capture import activation_bytes, capture
from explaind_worker.engine.activations.interventions import Edit, EditPoint, Variant
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.gradients.differentiable_score import widened
from explaind_worker.engine.scoring.rows import FloatArray
from explaind_worker.engine.scoring.score_query import ScoreSpec, TokenIds
from explaind_worker.engine.sweep.sweep import Sweep, SweepQuestion
from explaind_worker.evaluation.questions import EvalPrompt, asked_of
from explaind_worker.session.session import Session

FEWEST_TO_RESAMPLE = 2
END = 2**31  # beyond the last token of any row


ComponentKind = Literal["head", "attention", "mlp", "block"]
# The hook points that a component writes, where it is ablated.
WRITES: Mapping[ComponentKind, tuple[EditPoint, ...]] = {
    "head": ("z",),
    "attention": ("attn_out",),
    "mlp": ("mlp_out",),
    "block": ("attn_out", "mlp_out"),
}

Recording = Mapping[HookPoint, torch.Tensor]


@dataclass(frozen=True)
class Component:
    """A component of one layer that is ablated: its attention, its MLP, both (block), or some of its heads."""

    layer: int
    kind: ComponentKind
    heads: tuple[int, ...] = ()


AblationSet = tuple[Component, ...]  # components that are ablated together


class AblationRuns:
    """The questions, their metric, and replacement values for components of these `kinds` in `layers`.

    The constructor makes all checks that need no model weights.

    Raises:
        InvalidRequest: a question cannot be used with this model, or lacks the foil that the metric needs.
    """

    def __init__(
        self, request: AblationRequest, session: Session, kinds: Collection[ComponentKind], layers: Sequence[int]
    ) -> None:
        self.request = request
        self.session = session
        self.asked = asked_of(request, session)
        self.questions = [self._question(index, asked) for index, asked in enumerate(self.asked)]
        self._points: list[EditPoint] = list(dict.fromkeys(point for kind in kinds for point in WRITES[kind]))
        self._layers = layers
        if request.ablation == "resample" and len(self.asked) < FEWEST_TO_RESAMPLE:
            raise InvalidRequest.at(
                "/questions",
                "Resampling takes what a part says in another question, and there is only one.",
                hint='Give more questions, or choose ablation "zero" or "mean".',
            )

    @property
    def new_tokens(self) -> int:
        """Maximum number of generated tokens of an answer."""
        return self.request.max_new_tokens or NEW_TOKENS

    def metrics(self, cuts: Sequence[AblationSet]) -> FloatArray:
        """The metric of the intact model, then under each cut: [1 + cut, question], from log-probabilities or logits.

        Raises:
            NonFiniteScore: one of them is not a finite number.
        """
        asked = [
            SweepQuestion(tuple(a.prompt.token_ids), question.continuations, self.variants(number, cuts))
            for number, (a, question) in enumerate(zip(self.asked, self.questions, strict=True))
        ]
        columns = [q.columns(s).sum(axis=1) for q, s in zip(self.questions, self._sweep(asked), strict=True)]
        metrics = np.stack(columns, axis=1)
        if not np.isfinite(metrics).all():
            raise NonFiniteScore(
                f"{self.session.model_access.entry.name} answered with a score that is not a finite number.",
                hint='The dtype may be too narrow for what an ablated model computes: try dtype = "float32".',
            )
        return metrics

    def variants(self, number: int, cuts: Sequence[AblationSet]) -> list[Variant]:
        """The edited runs of one question."""
        return [Variant(tuple(edit for part in cut for edit in self.edits(number, part))) for cut in cuts]

    def edits(self, number: int, part: Component) -> list[Edit]:
        """The edits that ablate that component in one question's run, one per hook point that it writes."""
        last = len(self.asked[number].prompt) - 1
        positions = (last, END) if self.request.positions == "last" else None
        return [
            Edit(part.layer, point, heads=part.heads, positions=positions, value=self._value(number, part, point))
            for point in WRITES[part.kind]
        ]

    def texts(self, answers: Sequence[TokenIds | None]) -> list[str | None]:
        """The texts of continuations of the questions' prompts; None where there is none."""
        encoder = self.session.model_access.encoder
        return [
            None if ids is None else encoder.text_of(ids, after=asked.prompt.token_ids)
            for ids, asked in zip(answers, self.asked, strict=True)
        ]

    def room(self, reads: int = 1, *, new_tokens: int = 0) -> BatchLimits:
        """Batch limits for the questions' rows, after subtracting the memory of the stored replacement values."""
        fed = 0 if new_tokens else max(len(c) - 1 for q in self.questions for c in q.continuations)
        longest = max(len(asked.prompt) for asked in self.asked)
        return self.session.model_access.batch_limits(
            longest + fed, reads=reads, new_tokens=new_tokens, kept=self._kept_bytes()
        )

    def _value(self, number: int, part: Component, point: EditPoint) -> torch.Tensor | None:
        """Replacement value [place, hidden], for z [place, head, head_dim]; None for zeros."""
        key = HookPoint(point, part.layer)
        if self.request.ablation == "zero":
            return None
        if self.request.ablation == "mean":
            value = self._means[key]
        elif self.request.positions == "last":
            donor = self._donors[number]
            value = self._recordings[donor][key][len(self.asked[donor].prompt) - 1 :]
        else:
            value = self._aligned(number)[key]
        if part.kind != "head":
            return value
        first, last = part.heads[0], part.heads[-1]
        adjacent = part.heads == tuple(range(first, last + 1))
        return value[:, first : last + 1] if adjacent else value[:, list(part.heads)]  # usually a view, not a copy

    @cached_property
    def _means(self) -> Recording:
        """Mean activations over all tokens of all prompts, [1, …]."""
        sums: dict[HookPoint, torch.Tensor] = {}
        for run in self._recorded():
            for key, said in run.items():
                total = widened(said).sum(dim=0, keepdim=True)
                sums[key] = sums[key] + total if key in sums else total
        tokens = sum(len(asked.prompt) for asked in self.asked)
        return {key: total / tokens for key, total in sums.items()}

    @cached_property
    def _recordings(self) -> list[Recording]:
        """Activations of each question's prompt with its right answer."""
        return list(self._recorded(answered=True))

    def _recorded(self, *, answered: bool = False) -> Iterator[Recording]:
        session, model = self.session, self.session.model_access.model()
        for number, asked in enumerate(self.asked):
            session.job.report_progress("capturing activations", number, len(self.asked), "questions")
            ids = [*asked.prompt.token_ids, *(asked.answer_ids[:-1] if answered else ())]
            yield capture(model, ids, self._points, layers=self._layers, meter=session.job.meter)
        session.job.report_progress("capturing activations", len(self.asked), len(self.asked), "questions")

    @cached_property
    def _donors(self) -> list[int]:
        """For each question the index of another one, drawn with the seed."""
        count = len(self.asked)
        steps = np.random.default_rng(self.request.seed).integers(1, count, size=count)
        return [int(number + step) % count for number, step in enumerate(steps)]

    def _aligned(self, number: int) -> Recording:
        """Donor activations aligned by distance from the end of the prompt, for every token of the prompt and after it.

        Where the donor's prompt is shorter, its first token is repeated.
        """
        if number not in self._aligned_runs:
            donor = self._recordings[self._donors[number]]
            shift = len(self.asked[self._donors[number]].prompt) - len(self.asked[number].prompt)
            some = next(iter(donor.values()))
            places = torch.arange(shift, len(some), device=some.device).clamp(min=0)
            self._aligned_runs[number] = {key: said[places] for key, said in donor.items()} if shift else donor
        return self._aligned_runs[number]

    @cached_property
    def _aligned_runs(self) -> dict[int, Recording]:
        return {}

    def _kept_bytes(self) -> int:
        if self.request.ablation == "zero":
            return 0
        lengths = [len(asked.prompt) + len(asked.answer_ids) for asked in self.asked]
        # Resampling stores recorded and, for unequal lengths, aligned activations; a mean stores one run at most.
        positions = 2 * sum(lengths) if self.request.ablation == "resample" else max(lengths) + 8
        footprint = self.session.model_access.footprint
        return activation_bytes(footprint, positions, self._points, len(self._layers))

    @cached_property
    def _sweep(self) -> Sweep:
        session = self.session
        limits = self.room(max(len(c) for q in self.questions for c in q.continuations))
        return Sweep(
            session.model_access.model(),
            meter=session.job.meter,
            report_progress=session.job.report_progress,
            limits=limits,
        )

    def _question(self, index: int, asked: EvalPrompt) -> ScoreSpec:
        """The score query of one question's answer."""
        if self.request.metric != "logit_difference":
            return ScoreSpec("logprob", asked.answer_ids)
        if asked.foil_ids is None:
            raise InvalidRequest.at(
                self._foil_at(index),
                f"Question {index} ({asked.question.question[:60]!r}) has no foil, and a logit difference needs one.",
                hint='Give every question a "foil", or choose metric "logprob".',
            )
        pairs = zip(asked.answer_ids, asked.foil_ids, strict=False)
        apart = next((place for place, (one, other) in enumerate(pairs) if one != other), None)
        if apart is None:
            raise InvalidTarget.at(
                self._foil_at(index),
                f"Of question {index} answer and foil begin with the same tokens and nothing tells them apart.",
                hint="Choose another foil.",
            )
        end, span = apart + 1, (apart, apart + 1)
        return ScoreSpec("logit", asked.answer_ids[:end], foil=asked.foil_ids[:end], target_span=span, foil_span=span)

    def _foil_at(self, index: int) -> str:
        """JSON pointer of the field that a question's foil comes from."""
        given = self.request.questions
        if isinstance(given, InlineQuestions):
            return f"/questions/questions/{index}/foil"
        return "/questions/foil" if isinstance(given, DatasetQuestions) else "/questions"
