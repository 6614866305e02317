"""Score query of an attribution on a sequence classifier: the score of one class, or of one against another."""

from collections.abc import Sequence

import numpy as np

from explaind.contract.blocks.attribution import AttributionRequest
from explaind.contract.blocks.attribution_result import Replacement, ScoredText, ScoredToken
from explaind.contract.blocks.subject import ClassTarget, Foil, LabelsTarget, Target, TextTarget
from explaind.contract.errors import InvalidTarget
from explaind_worker.engine.scoring.masker import Masker
from explaind_worker.engine.scoring.score_query import ScoreSpec, TokenIds
from explaind_worker.engine.scoring.units import UnitMap
from explaind_worker.models.structure.classifier_head import Classes
from explaind_worker.models.text.tokenizer import EncodedPrompt
from explaind_worker.session.session import Session
from explaind_worker.session.value_function import value_function


def asked_of_classes(request: AttributionRequest, classes: Classes) -> ScoreSpec | None:
    """The score query for the request's class; None if that is the predicted class, which needs a forward.

    Raises:
        InvalidTarget: target or foil is not a class, or this model has no such score.
    """
    if classes.rule == "none" and request.score != "logit":
        raise InvalidTarget.at(
            "/score",
            f"This model gives numbers, not probabilities, so there is no {request.score} to explain.",
            hint='Ask for score "logit".',
        )
    foil = None if request.foil is None else _class_of(request.foil, classes, "/foil")
    if request.target is None:
        return None
    return class_question(request, _class_of(request.target, classes, "/target"), foil)


def question_of_prediction(request: AttributionRequest, session: Session, encoded: EncodedPrompt) -> ScoreSpec:
    """The score query for the class that the classifier predicts for the whole prompt.

    Raises:
        InvalidTarget: that class is the foil.
    """
    classes = session.model_access.classifier().classes
    foil = None if request.foil is None else _class_of(request.foil, classes, "/foil")
    scores = value_function(session, whole(encoded), [(index,) for index in range(len(classes))])(np.ones((1, 0), bool))
    return class_question(request, (int(scores.logits[0].argmax()),), foil)


def class_question(request: AttributionRequest, target: TokenIds, foil: TokenIds | None) -> ScoreSpec:
    """The score query for that class, against the foil if there is one.

    Raises:
        InvalidTarget: they are the same class.
    """
    if foil == target:
        raise InvalidTarget.at("/foil", "Target and foil are the same class.", hint="Choose another foil.")
    return ScoreSpec(request.score, target, foil=foil)


def whole(encoded: EncodedPrompt) -> Masker:
    """The unmodified prompt, as a masker without units."""
    nobody = UnitMap(units=(), unit_of_token=(None,) * len(encoded))
    return Masker(encoded, nobody, Replacement(choice="remove"))


def scored_class(classes: Classes, index: int, logprobs: Sequence[float]) -> ScoredText:
    """A class in the result's format: its name as the text, its index as the id of the only token."""
    (logprob,) = logprobs
    name = classes.names[index]
    known = None if classes.rule == "none" else logprob
    return ScoredText(text=name, tokens=[ScoredToken(text=name, id=index, logprob=known)])


def _class_of(target: Target | Foil, classes: Classes, pointer: str) -> TokenIds:
    if isinstance(target, ClassTarget):
        return (classes.index_of(target.class_, f"{pointer}/class"),)
    meant = target.text.strip() if isinstance(target, TextTarget) else None
    meant = target.explain.strip() if isinstance(target, LabelsTarget) else meant
    example = meant if meant in classes.names else classes.names[0]
    raise InvalidTarget.at(
        pointer,
        "This model is a classifier: what can be explained of it is a class, not a continuation.",
        hint=f'Give {{"class": "{example}"}}, or leave the target out for the class that it predicts.',
    )
