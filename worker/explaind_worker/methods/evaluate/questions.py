"""evaluate/questions: generates answers, extracts and grades them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explaind.contract.blocks.grading import CATEGORIES, CATEGORY_OF, FailureRule
from explaind.contract.errors import InvalidRequest, NonFiniteScore
from explaind.contract.methods.evaluate.questions import (
    MOST_COMPARED,
    Accuracy,
    ActivationComparison,
    FailureCount,
    JudgedQuestion,
    QuestionsEvaluation,
    QuestionsParams,
)
from explaind_worker.engine.generation.batched_greedy import Continuations, Continued
from explaind_worker.engine.sweep.sweep import Sweep, SweepQuestion
from explaind_worker.evaluation.grader import judged
from explaind_worker.evaluation.questions import EvalPrompt, asked_of, template_of
from explaind_worker.methods.infer.generate import first_stop
from explaind_worker.session.prompt_limits import check_fits
from explaind_worker.session.session import Session
from explaind_worker.statistics.two_means import random_groups, two_means
from explaind_worker.statistics.wilson import wilson


def run(params: QuestionsParams, session: Session) -> QuestionsEvaluation:
    """Every question with its generated and graded answer, and the aggregates.

    Raises:
        InvalidRequest: a question cannot be used with this model (the field is named).
        NonFiniteScore: the model answered with NaN or infinity.
    """
    session.model_access.require("causal")
    asked = asked_of(params, session)
    for question in asked:
        check_fits(session.model_access, question.prompt, params.max_new_tokens, "/max_new_tokens")
    if params.activations and len(asked) > MOST_COMPARED:
        raise InvalidRequest.at(
            "/activations",
            f"Activations are compared of at most {MOST_COMPARED} questions; here are {len(asked)}.",
            hint="Ask fewer questions (limit), or leave the activations out.",
        )
    logprobs = _logprobs(asked, session)
    continued = _continued(asked, params, session)
    questions = [
        _judged(params, question, said, of_question, session)
        for question, said, of_question in zip(asked, continued, logprobs, strict=True)
    ]
    differences = [q.logprob - q.foil_logprob for q in questions if q.foil_logprob is not None]
    kinds = list(dict.fromkeys(question.kind for question in questions))
    return QuestionsEvaluation(
        template=template_of(params),
        chat=params.chat,
        answer=params.answer,
        confidence=params.confidence,
        total=_accuracy(None, questions, params.confidence),
        by_kind=[
            _accuracy(kind, [q for q in questions if q.kind == kind], params.confidence)
            for kind in kinds
            if len(kinds) > 1
        ],
        failures=_failures(questions),
        mean_logprob=float(np.mean([question.logprob for question in questions])),
        mean_difference=float(np.mean(differences)) if differences else None,
        preferred=float(np.mean([difference > 0 for difference in differences])) if differences else None,
        questions=questions,
        activations=_compared(params, continued, [q.right for q in questions]) if params.activations else None,
    )


@dataclass(frozen=True)
class _Logprobs:
    answer: float
    foil: float | None


def _logprobs(asked: Sequence[EvalPrompt], session: Session) -> list[_Logprobs]:
    """Log-probabilities of reference answer and foil after each prompt."""
    answers = [ids for question in asked for ids in (question.answer_ids, question.foil_ids or ())]
    reads, longest = max(map(len, answers)), max(len(question.prompt) for question in asked)
    limits = session.model_access.batch_limits(longest + reads, reads=reads)
    model = session.model_access.model()
    sweep = Sweep(model, meter=session.job.meter, report_progress=session.job.report_progress, limits=limits)
    continuations = [
        (question.answer_ids,) if question.foil_ids is None else (question.answer_ids, question.foil_ids)
        for question in asked
    ]
    with session.job.phase("scoring the answers"):
        scores = sweep(
            [
                SweepQuestion(question.prompt.token_ids, answers, ())
                for question, answers in zip(asked, continuations, strict=True)
            ]
        )
    found = []
    for question, scored in zip(asked, scores, strict=True):
        tokens = scored.logprobs[0]
        if not np.isfinite(tokens).all():
            raise NonFiniteScore(
                f"{session.model_access.entry.name} answered with a score that is not a finite number.",
                hint='The dtype may be too narrow: try dtype = "float32".',
            )
        length = len(question.answer_ids)
        foil = None if question.foil_ids is None else float(tokens[length:].sum())
        found.append(_Logprobs(float(tokens[:length].sum()), foil))
    return found


def _continued(asked: Sequence[EvalPrompt], params: QuestionsParams, session: Session) -> list[Continued]:
    """The continuation of each prompt."""
    longest = max(len(question.prompt) for question in asked)
    limits = session.model_access.batch_limits(longest, new_tokens=params.max_new_tokens)
    model = session.model_access.model()
    continuations = Continuations(
        model,
        params.max_new_tokens,
        meter=session.job.meter,
        report_progress=session.job.report_progress,
        limits=limits,
        residuals=params.activations,
    )

    def stops(index: int, token_ids: Sequence[int]) -> bool:
        return first_stop(_said(asked[index], token_ids, session), params.stop) is not None

    return continuations([question.prompt.token_ids for question in asked], stops if params.stop else None)


def _said(asked: EvalPrompt, token_ids: Sequence[int], session: Session) -> str:
    return session.model_access.encoder.text_of(token_ids, after=asked.prompt.token_ids)


def _judged(
    params: QuestionsParams, asked: EvalPrompt, continued: Continued, logprobs: _Logprobs, session: Session
) -> JudgedQuestion:
    question, said = asked.question, _said(asked, continued.token_ids, session)
    said = said[: first_stop(said, params.stop)]
    verdict = judged(question, said, finish=continued.finish, form=params.answer, tolerance=params.tolerance)
    return JudgedQuestion(
        question=question.question,
        kind=question.kind,
        name=question.name,
        answer=question.answer,
        foil=question.foil,
        said=said,
        finish=continued.finish,
        extracted=verdict.extracted,
        right=verdict.right,
        category=verdict.category,
        rule=verdict.rule,
        explanation=verdict.explanation,
        logprob=logprobs.answer,
        foil_logprob=logprobs.foil,
    )


def _accuracy(kind: str | None, questions: Sequence[JudgedQuestion], confidence: float) -> Accuracy:
    right, count = sum(question.right for question in questions), len(questions)
    low, high = wilson(right, count, confidence)
    return Accuracy(kind=kind, count=count, right=right, accuracy=right / count, low=low, high=high)


def _failures(questions: Iterable[JudgedQuestion]) -> list[FailureCount]:
    found = [question.rule for question in questions if question.rule is not None]
    counts: dict[FailureRule, int] = {rule: found.count(rule) for rule in CATEGORY_OF if rule in found}
    return [
        FailureCount(
            category=category,
            count=sum(count for rule, count in counts.items() if CATEGORY_OF[rule] == category),
            rules={rule: count for rule, count in counts.items() if CATEGORY_OF[rule] == category},
        )
        for category in CATEGORIES
    ]


def _compared(
    params: QuestionsParams, continued: Sequence[Continued], judgement: Sequence[bool]
) -> ActivationComparison | None:
    """Comparison of correctly and wrongly answered questions, layer by layer; None if either group is empty."""
    right = np.array(judgement)
    if right.all() or not right.any():
        return None
    residuals = np.stack([one.residuals for one in continued if one.residuals is not None])  # [question, layer, hidden]
    random: NDArray[np.bool_] = random_groups(right, params.random_splits, params.seed)
    layers = [two_means(residuals[:, layer], right, random) for layer in range(residuals.shape[1])]
    return ActivationComparison(
        right=int(right.sum()),
        wrong=int((~right).sum()),
        splits=params.random_splits,
        cosine=[layer.cosine for layer in layers],
        l2=[layer.l2 for layer in layers],
        random_cosine=[float(layer.random_cosine.mean()) for layer in layers],
        random_l2=[float(layer.random_l2.mean()) for layer in layers],
        random_l2_high=[float(np.quantile(layer.random_l2, 0.95)) for layer in layers],
        l2_p=[layer.p for layer in layers],
    )
