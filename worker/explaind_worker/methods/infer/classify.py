"""infer/classify: the classes of a classifier, or labels after a prompt, with probabilities."""

import numpy as np

from explaind.contract.blocks.attribution_result import ScoredToken
from explaind.contract.errors import InvalidRequest, InvalidTarget, NonFiniteScore
from explaind.contract.methods.infer.classify import Classification, ClassifyParams, ClassScore
from explaind_worker.attribution.classifier_query import whole
from explaind_worker.engine.scoring.value_function import FloatArray
from explaind_worker.models.structure.classifier_head import Classes
from explaind_worker.models.text.tokenizer import EncodedPrompt
from explaind_worker.session.prompt_limits import check_fits, encode_prompt
from explaind_worker.session.session import Session
from explaind_worker.session.value_function import value_function


def run(params: ClassifyParams, session: Session) -> Classification:
    """Every class of a classifier, or every one of the labels given to a causal language model.

    Raises:
        InvalidRequest: labels were given to a classifier, or none to a causal language model.
        NonFiniteScore: the model answered with NaN or infinity.
    """
    encoded, classes = encode_prompt(session, params), session.model_access.encoder.classes
    if classes is None:
        return _among_labels(params.labels, session, encoded)
    if params.labels is not None:
        raise InvalidRequest.at(
            "/labels",
            f"{session.model_access.entry.name} is a classifier with classes of its own.",
            hint="Leave the labels out.",
        )
    return _among_classes(classes, session, encoded)


def _among_classes(classes: Classes, session: Session, encoded: EncodedPrompt) -> Classification:
    scores = value_function(session, whole(encoded), [(i,) for i in range(len(classes))])(np.ones((1, 0), dtype=bool))
    logits, logprobs = _finite(scores.logits[0], session), scores.logprobs[0]
    known = classes.rule != "none"
    return Classification(
        prompt=encoded.text,
        predicted=int(logits.argmax()),
        rule=classes.rule,
        classes=[
            ClassScore(
                label=name,
                index=index,
                probability=float(np.exp(logprobs[index])) if known else None,
                logit=float(logits[index]),
            )
            for index, name in enumerate(classes.names)
        ],
    )


def _among_labels(labels: list[str] | None, session: Session, encoded: EncodedPrompt) -> Classification:
    if labels is None:
        raise InvalidRequest.at(
            "/labels",
            f"{session.model_access.entry.name} is a causal language model and has no classes of its own.",
            hint='Give the answers to choose from, e.g. [" positive", " negative"].',
        )
    encoder = session.model_access.encoder
    continuations = []
    for place, label in enumerate(labels):
        ids = session.model_access.continuation(encoded, label, pointer=f"/labels/{place}")
        check_fits(session.model_access, encoded, len(ids), f"/labels/{place}")
        continuations.append(ids)
    if len(set(continuations)) < len(continuations):
        raise InvalidTarget.at("/labels", "Two of the labels are the same tokens to this model.")
    scores = value_function(session, whole(encoded), continuations)(np.ones((1, 0), dtype=bool))
    ends = np.cumsum([len(ids) for ids in continuations])
    by_label = np.split(_finite(scores.logprobs[0], session), ends[:-1])
    logits = np.array([of_label.sum() for of_label in by_label])
    probabilities = np.exp(logits - np.logaddexp.reduce(logits))
    return Classification(
        prompt=encoded.text,
        predicted=int(logits.argmax()),
        rule="softmax",
        classes=[
            ClassScore(
                label=label,
                index=index,
                probability=float(probabilities[index]),
                logit=float(logits[index]),
                tokens=[
                    ScoredToken(text=text, id=token_id, logprob=float(logprob))
                    for text, token_id, logprob in zip(
                        encoder.texts_of(ids, after=encoded.token_ids), ids, by_label[index], strict=True
                    )
                ],
            )
            for index, (label, ids) in enumerate(zip(labels, continuations, strict=True))
        ],
    )


def _finite(scores: FloatArray, session: Session) -> FloatArray:
    if not np.isfinite(scores).all():
        raise NonFiniteScore(
            f"{session.model_access.entry.name} answered with a score that is not a finite number.",
            hint='The dtype may be too narrow: try dtype = "float32".',
        )
    return scores
