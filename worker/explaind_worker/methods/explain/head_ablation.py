"""explain/head-ablation: ablates attention heads, one at a time and together."""

from dataclasses import dataclass, field

import numpy as np

from explaind.contract.methods.explain.head_ablation import (
    AblatedSets,
    GradientScreenResult,
    GreedyRemoval,
    HeadAblation,
    HeadAblationParams,
    HeadRanking,
)
from explaind_worker.ablation.effects import Effects, nullable
from explaind_worker.ablation.runs import AblationRuns, AblationSet, Component
from explaind_worker.ablation.selection import refuse_absent
from explaind_worker.engine.gradients.attribution_patching import first_order_effects
from explaind_worker.models.loading.gradient_support import gradient_notes
from explaind_worker.models.structure.anatomy import Anatomy
from explaind_worker.session.session import Session
from explaind_worker.statistics.rank_agreement import spearman

Head = tuple[int, int]


def run(params: HeadAblationParams, session: Session) -> HeadAblation:
    """Effects of ablating each head, each set, and the heads removed one after the other.

    Raises:
        InvalidRequest: a question, a head or the metric cannot be used with this model (the field is named).
        GradientsUnavailable: a first pass was requested, and gradients do not pass through the model's weights.
    """
    anatomy = session.model_access.anatomy()
    singles = _every_head(anatomy) if params.heads is None else _checked(params.heads, anatomy, "/heads")
    sets = [_checked(heads, anatomy, f"/sets/{i}") for i, heads in enumerate(params.sets or [])]
    layers = sorted({layer for heads in (singles, *sets) for layer, _ in heads})
    ablating = AblationRuns(params, session, ["head"], layers)
    first = None
    if params.first_pass is not None:
        approximate = _approximate(ablating, singles)
        notes = gradient_notes(session.model_access.model())
        first = _FirstPass(singles, approximate, params.first_pass.top_k, notes)
        singles = first.verified
    effects = Effects(ablating)
    effects.ablate([cut_of([head]) for head in singles] + [cut_of(heads) for heads in sets])
    found = _Found(params, anatomy, effects, singles, sets, first)
    session.job.make_partial_result = found.result
    for step in range(min(params.greedy or 0, len(singles))):
        with session.job.phase(f"removing head {step + 1} of {min(params.greedy or 0, len(singles))}"):
            found.remove_next()
    return found.result()


def cut_of(heads: list[Head]) -> AblationSet:
    """The ablation set of heads ablated together, those of a layer as one component."""
    by_layer: dict[int, list[int]] = {}
    for layer, head in sorted(heads):
        by_layer.setdefault(layer, []).append(head)
    return tuple(Component(layer, "head", tuple(of_layer)) for layer, of_layer in by_layer.items())


@dataclass
class _FirstPass:
    """Approximate effects [layer, head] of the screened heads, and the heads to run exactly."""

    looked_at: list[Head]
    approximate: np.ndarray
    top_k: int
    notes: list[str]

    @property
    def verified(self) -> list[Head]:
        """The heads with the largest approximate effects."""
        return sorted(self.looked_at, key=lambda head: -abs(self.approximate[head]))[: self.top_k]

    def found(self, exact: np.ndarray) -> GradientScreenResult:
        """The screen's result, next to the exact mean effects [verified]."""
        correlation = float("nan")
        if len(self.verified) > 1:
            both = np.stack([[self.approximate[head] for head in self.verified], exact])
            correlation = float(spearman(both)[0, 1])
        return GradientScreenResult(
            effects=[nullable(row) for row in self.approximate],
            verified=self.verified,
            spearman=None if np.isnan(correlation) else correlation,
        )


@dataclass
class _Found:
    """The effects computed so far."""

    params: HeadAblationParams
    anatomy: Anatomy
    effects: Effects
    singles: list[Head]
    sets: list[list[Head]]
    first: _FirstPass | None
    removed: list[Head] = field(default_factory=list)

    def remove_next(self) -> None:
        """Removes one more head: the one whose ablation now has the largest effect."""
        left = sorted(head for head in self.singles if head not in self.removed)
        self.effects.ablate([cut_of([*self.removed, head]) for head in left])
        costs = [self.effects.of(cut_of([*self.removed, head])).mean() for head in left]
        self.removed.append(left[int(np.argmax(costs))])

    def result(self) -> HeadAblation:
        """The result so far."""
        shape = (len(self.anatomy.blocks), self.anatomy.heads)
        grid: list[list[float | None]] = [[None] * shape[1] for _ in range(shape[0])]
        by_question: list[list[list[float] | None]] = [[None] * shape[1] for _ in range(shape[0])]
        for (layer, head), effect in zip(self.singles, self._of_singles(), strict=True):
            grid[layer][head], by_question[layer][head] = float(effect.mean()), effect.tolist()
        return HeadAblation(
            **self.effects.common([f"layer {layer}, head {head}" for layer, head in self.singles], self._cuts()),
            layers=shape[0],
            heads=shape[1],
            grid=grid,
            effects=by_question,
            ranking=self._ranking(),
            sets=self._sets(),
            greedy=self._greedy(),
            first_pass=self.first and self.first.found(self._of_singles().mean(axis=1)),
            notes=[] if self.first is None else self.first.notes,
        )

    def _cuts(self) -> list[AblationSet]:
        return [cut_of([head]) for head in self.singles]

    def _of_singles(self) -> np.ndarray:
        return self.effects.all_of(self._cuts())

    def _ranking(self) -> HeadRanking:
        order, mean, low, high = self.effects.ranked(self._cuts())
        heads = [self.singles[index] for index in order]
        return HeadRanking(
            layers=[layer for layer, _ in heads],
            heads=[head for _, head in heads],
            effects=mean,
            low=low,
            high=high,
        )

    def _sets(self) -> AblatedSets | None:
        if self.params.sets is None:
            return None
        found = self.effects.all_of([cut_of(heads) for heads in self.sets])
        mean, low, high = self.effects.intervals(found)
        return AblatedSets(heads=self.sets, effects=mean, low=low, high=high, by_question=found.tolist())

    def _greedy(self) -> GreedyRemoval | None:
        if self.params.greedy is None:
            return None
        gone = [cut_of(self.removed[: step + 1]) for step in range(len(self.removed))]
        found = self.effects.all_of(gone)
        mean, low, high = self.effects.intervals(found)
        return GreedyRemoval(
            heads=self.removed,
            metric=(self.effects.clean.mean() - found.mean(axis=1)).tolist(),
            effects=mean,
            low=low,
            high=high,
            by_question=found.tolist(),
        )


def _approximate(ablating: AblationRuns, heads: list[Head]) -> np.ndarray:
    """Approximate mean effects [layer, head]; NaN for heads not requested."""
    session = ablating.session
    layers = sorted({layer for layer, _ in heads})
    every = tuple(range(session.model_access.anatomy().heads))
    longest = max(len(asked.prompt) for asked in ablating.asked)
    reads = max(len(c) for question in ablating.questions for c in question.continuations)
    session.model_access.gradient_batch_limits(1, longest + reads - 1, reads=reads)
    gradient_notes(session.model_access.model())  # refuses before the first forward
    found = []
    for number, (asked, question) in enumerate(zip(ablating.asked, ablating.questions, strict=True)):
        session.job.report_progress("computing gradients", number, len(ablating.asked), "questions")
        edits = {layer: edit for layer in layers for edit in ablating.edits(number, Component(layer, "head", every))}
        prompt = asked.prompt.token_ids
        found.append(
            first_order_effects(session.model_access.model(), prompt, question, edits, meter=session.job.meter)
        )
    session.job.report_progress("computing gradients", len(found), len(found), "questions")
    mean = np.mean(found, axis=0)
    looked_at = np.zeros(mean.shape, dtype=bool)
    looked_at[tuple(np.array(heads).T)] = True
    return np.where(looked_at, mean, np.nan)


def _every_head(anatomy: Anatomy) -> list[Head]:
    return [(layer, head) for layer in range(len(anatomy.blocks)) for head in range(anatomy.heads)]


def _checked(heads: list[Head], anatomy: Anatomy, pointer: str) -> list[Head]:
    """The heads, checked to exist in the model."""
    for index, (layer, head) in enumerate(heads):
        refuse_absent(layer, len(anatomy.blocks), f"{pointer}/{index}/0", "layer")
        refuse_absent(head, anatomy.heads, f"{pointer}/{index}/1", "head of a layer")
    return list(heads)
