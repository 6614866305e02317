"""Generates answers under ablations and grades them."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from explaind.contract.blocks.ablation import Failures
from explaind.contract.blocks.grading import CATEGORIES
from explaind_worker.ablation.runs import AblationRuns, AblationSet
from explaind_worker.engine.scoring.rows import FloatArray
from explaind_worker.engine.sweep.generation import continuations_under
from explaind_worker.evaluation.grader import Grade, judged
from explaind_worker.session.prompt_limits import check_fits

WHOLE: AblationSet = ()


class GeneratedAnswers:
    """Generated and graded answers under ablation sets; each is generated once.

    The constructor checks that prompt and answer fit the context.

    Raises:
        TargetTooLong: they do not.
    """

    def __init__(self, ablating: AblationRuns) -> None:
        self._ablating = ablating
        self._said: dict[AblationSet, list[str]] = {}
        self._verdicts: dict[AblationSet, list[Grade]] = {}
        for asked in ablating.asked:
            check_fits(ablating.session.model_access, asked.prompt, ablating.new_tokens, "/max_new_tokens")

    def metrics(self, cuts: Sequence[AblationSet]) -> FloatArray:
        """1 for a right answer, else 0, of the intact model and then under each cut: [1 + cut, question]."""
        ablating, session = self._ablating, self._ablating.session
        limits = ablating.room(new_tokens=ablating.new_tokens)
        model = session.model_access.model()
        said = continuations_under(
            model,
            [asked.prompt.token_ids for asked in ablating.asked],
            [ablating.variants(number, cuts) for number in range(len(ablating.asked))],
            ablating.new_tokens,
            end_ids=model.end_ids,
            meter=session.job.meter,
            report_progress=session.job.report_progress,
            limits=limits,
        )
        for row, cut in enumerate([WHOLE, *cuts]):
            self._hear(cut, [of_question[row] for of_question in said])
        return np.array([[verdict.right for verdict in self._verdicts[cut]] for cut in (WHOLE, *cuts)], dtype=float)

    def failures(self, named: Mapping[str, AblationSet]) -> Failures:
        """Failure analysis of the clean answers and of those under the named cuts, which must be known already."""
        return Failures(
            categories=list(CATEGORIES),
            clean=self._counts(WHOLE),
            clean_said=self._said[WHOLE],
            components=list(named),
            ablated=[self._counts(cut) for cut in named.values()],
            ablated_said=[self._said[cut] for cut in named.values()],
        )

    def _hear(self, cut: AblationSet, answers: Sequence[Sequence[int]]) -> None:
        """Stores and grades the generated answer to each question, [token]."""
        ablating, encoder = self._ablating, self._ablating.session.model_access.encoder
        self._said[cut], self._verdicts[cut] = [], []
        for asked, ids in zip(ablating.asked, answers, strict=True):
            said = encoder.text_of(ids, after=asked.prompt.token_ids)
            finish = "length" if len(ids) == ablating.new_tokens else "end"
            self._said[cut].append(said)
            self._verdicts[cut].append(judged(asked.question, said, finish=finish, form=ablating.request.answer))

    def _counts(self, cut: AblationSet) -> list[int]:
        counted = Counter(verdict.category for verdict in self._verdicts[cut])
        return [counted[category] for category in CATEGORIES]
