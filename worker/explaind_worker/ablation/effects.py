"""Ablation effects: loss of the metric under each ablation set, evaluated once, with intervals over the questions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from explaind.contract.blocks.ablation import Failures
from explaind_worker.ablation.generated_answers import GeneratedAnswers
from explaind_worker.ablation.runs import AblationRuns, AblationSet
from explaind_worker.engine.scoring.rows import FloatArray
from explaind_worker.statistics.paired_proportions import paired_difference
from explaind_worker.statistics.t_intervals import mean_interval
from explaind_worker.statistics.wilson import wilson

MOST_FAILURES = 10  # parts of the largest effects, whatever their sign, whose answers are told


class Effects:
    """The metric of the intact model, and its loss under each ablation set, per question; cached."""

    def __init__(self, ablating: AblationRuns) -> None:
        self._ablating = ablating
        self._answers = GeneratedAnswers(ablating) if ablating.request.metric == "accuracy" else None
        self._clean: FloatArray | None = None
        self._known: dict[AblationSet, FloatArray] = {}
        self.evaluations = 0

    @property
    def clean(self) -> FloatArray:
        """The metric of the whole model, [question]."""
        if self._clean is None:
            self.ablate([])
        assert self._clean is not None  # noqa: S101 - `ablate` with no sets computes it too
        return self._clean

    def ablate(self, cuts: Sequence[AblationSet]) -> None:
        """Computes the effects of those ablation sets that are not known yet."""
        missing = [cut for cut in dict.fromkeys(cuts) if cut not in self._known]
        if not missing and self._clean is not None:
            return
        metrics = (self._answers or self._ablating).metrics(missing)
        self._clean = metrics[0] if self._clean is None else self._clean
        # Compared with the clean run of the same sweep, so that rounding differences between batches cancel.
        self._known.update(zip(missing, metrics[0] - metrics[1:], strict=True))
        self.evaluations += len(missing) * metrics.shape[1]

    def of(self, cut: AblationSet) -> FloatArray:
        """Clean minus ablated, [question]."""
        return self._known[cut]

    def all_of(self, cuts: Sequence[AblationSet]) -> FloatArray:
        """Clean minus ablated, [cut, question]."""
        return np.array([self._known[cut] for cut in cuts]).reshape(len(cuts), len(self.clean))

    def intervals(self, effects: FloatArray) -> tuple[list[float], list[float | None], list[float | None]]:
        """Mean effects [cut] of `effects` [cut, question], and the ends of their intervals; None where unknown.

        Student's t intervals; where answers are right or wrong, those of a difference of paired proportions.
        """
        confidence = self._ablating.request.confidence
        if self._answers is None:
            mean, low, high = mean_interval(effects, confidence)
            return mean.tolist(), nullable(low), nullable(high)
        ends = [_of_shares(self.clean, effect, confidence) for effect in effects]
        return effects.mean(axis=1).tolist(), [low for low, _ in ends], [high for _, high in ends]

    def clean_interval(self) -> tuple[float | None, float | None]:
        """The ends of the interval of the whole model's mean metric: Student's, or Wilson's of a share."""
        confidence = self._ablating.request.confidence
        if self._answers is not None:
            return wilson(int(self.clean.sum()), len(self.clean), confidence)
        _, low, high = mean_interval(self.clean[None], confidence)
        [low], [high] = nullable(low), nullable(high)
        return low, high

    def ranked(
        self, cuts: Sequence[AblationSet]
    ) -> tuple[list[int], list[float], list[float | None], list[float | None]]:
        """Indices of the cuts by decreasing mean effect, and their means and interval bounds in that order."""
        effects = self.all_of(cuts)
        order = np.argsort(-effects.mean(axis=1), kind="stable").tolist()
        return order, *self.intervals(effects[order])

    def common(self, names: Sequence[str], cuts: Sequence[AblationSet]) -> dict[str, Any]:
        """The fields common to all ablation results; `names` are those of the cuts."""
        ablating, request = self._ablating, self._ablating.request
        low, high = self.clean_interval()
        return {
            "ablation": request.ablation,
            "metric": request.metric,
            "positions": request.positions,
            "confidence": request.confidence,
            "prompts": [asked.prompt.text for asked in ablating.asked],
            "answers": ablating.texts([asked.answer_ids for asked in ablating.asked]),
            "foils": ablating.texts([asked.foil_ids for asked in ablating.asked]),
            "clean": self.clean.tolist(),
            "clean_mean": float(self.clean.mean()),
            "clean_low": low,
            "clean_high": high,
            "failures": self._failures(names, cuts),
            "evaluations": self.evaluations,
        }

    def _failures(self, names: Sequence[str], cuts: Sequence[AblationSet]) -> Failures | None:
        if self._answers is None:
            return None
        order: list[int] = np.argsort(-np.abs(self.all_of(cuts).mean(axis=1)), kind="stable").tolist()
        return self._answers.failures({names[index]: cuts[index] for index in order[:MOST_FAILURES]})


def _of_shares(clean: FloatArray, effect: FloatArray, confidence: float) -> tuple[float, float]:
    """The interval of a mean effect on whether answers are right; `clean` and `effect` [question] are 0 and ±1."""
    lost, won, kept = (int(these.sum()) for these in (effect > 0, effect < 0, (effect == 0) & (clean > 0)))
    return paired_difference(kept, lost, won, len(clean) - kept - lost - won, confidence)


def nullable(values: FloatArray) -> list[float | None]:
    """Numbers [n], with None for NaN."""
    return [None if np.isnan(value) else float(value) for value in values]
