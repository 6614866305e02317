"""Resolves an attribution request: token ids, units, target and foil."""

from collections.abc import Sequence
from itertools import zip_longest

from explaind.contract.blocks.attribution import AttributionRequest
from explaind.contract.blocks.attribution_result import Attribution, Replacement, ScoredText, ScoredToken
from explaind.contract.blocks.regrouping import shares_of_messages, shares_of_roles
from explaind.contract.blocks.subject import (
    ClassTarget,
    Foil,
    GeneratedTarget,
    LabelsTarget,
    Target,
    TextTarget,
    TokenIdsTarget,
)
from explaind.contract.blocks.units import Segments
from explaind.contract.errors import InvalidTarget
from explaind_worker.attribution.classifier_query import asked_of_classes, question_of_prediction, scored_class
from explaind_worker.engine.generation.generate import greedy
from explaind_worker.engine.scoring.score_query import ScoreSpec, TokenIds, TokenSpan, tokens_of_characters
from explaind_worker.engine.scoring.unit_groups import coarser_groups
from explaind_worker.engine.scoring.units import units_of
from explaind_worker.engine.scoring.value_function import FloatArray
from explaind_worker.session.prompt_limits import check_fits, encode_prompt
from explaind_worker.session.session import Session


class AttributionQuery:
    """The request's prompt divided into units, and its score query.

    Checks run in order of cost: the fields (done by the contract), the tokenizer (`_by_tokenizer`, in the constructor),
    then memory and model (`_by_model`, only if the model generates the target).

    Raises:
        InvalidRequest: prompt, units or target cannot be used with this model (the field is named).
    """

    def __init__(self, request: AttributionRequest, session: Session) -> None:
        self.request = request
        self.session = session
        self._access = session.model_access
        self.encoded = encode_prompt(session, request)
        self.unit_map = units_of(self.encoded, request.units)
        self.units = self.unit_map.units
        self._classes = self._access.encoder.classes
        self._question = self._by_tokenizer()

    def question(self) -> ScoreSpec:
        """The score query; if the request has no target, the model generates it.

        Raises:
            RequestTooLarge: not even one row would fit in the memory.
            InvalidTarget: the model generates nothing, or target and foil are the same.
        """
        if self._question is None:
            self._question = self._by_model()
        return self._question

    def _by_tokenizer(self) -> ScoreSpec | None:
        """The score query if target and foil are given, their lengths checked; None if the target is generated."""
        if self._classes is not None:
            return asked_of_classes(self.request, self._classes)
        target = self.request.target
        if target is None or isinstance(target, GeneratedTarget):
            pointer = "/target/generate/max_new_tokens" if target else "/prompt"
            check_fits(self._access, self.encoded, self._wanted, pointer)
            self._foil()
            return None
        if isinstance(target, LabelsTarget):
            return self._among_labels(target)
        question, same = self._against_foil(self._continuation(target, "/target"))
        if same:
            raise _same_as_foil()
        return question

    def _by_model(self) -> ScoreSpec:
        """The score query for the generated continuation or the predicted class; memory is checked first."""
        if self._classes is not None:
            return question_of_prediction(self.request, self.session, self.encoded)
        self._access.batch_limits(len(self.encoded), new_tokens=self._wanted)
        question, same = self._against_foil(self._generated())
        if same:
            self.session.job.refuse_generated(_same_as_foil())
        return question

    def attribution(
        self,
        values: FloatArray,
        *,
        base: float,
        full: float,
        logprobs: Sequence[float],
        algorithm: str,
        evaluations: int,
        baseline: Replacement,
        standard_errors: FloatArray | None = None,
    ) -> Attribution:
        """The result: values [unit, column], and log-probabilities of the tokens of all continuations."""
        question, request = self.question(), self.request
        totals = values.sum(axis=1)
        texts = self.scored_texts(logprobs)
        target = texts[question.answers.index(question.target)]
        shares = None
        if request.messages is not None:
            shares = shares_of_messages(self.units, totals.tolist(), [message.role for message in request.messages])
        return Attribution(
            prompt=self.encoded.text,
            units=list(self.units),
            values=totals.tolist(),
            values_by_target=values.tolist(),
            standard_errors=None if standard_errors is None else standard_errors.tolist(),
            base_value=base,
            full_value=full,
            completeness_gap=full - base - float(totals.sum()),
            score=self.request.score,
            target=target,
            foil=texts[1] if question.foil is not None else None,
            labels=texts if question.labels is not None else None,
            baseline=baseline,
            algorithm=algorithm,
            evaluations=evaluations,
            unit_kind="segments" if isinstance(request.units, Segments) else request.units,
            groups=coarser_groups(self.encoded, request.units, self.unit_map),
            by_message=shares,
            by_role=None if shares is None else shares_of_roles(shares),
        )

    def scored_texts(self, logprobs: Sequence[float]) -> list[ScoredText]:
        """The score query's continuations in the result's format, from the log-probabilities of all their tokens."""
        question = self.question()
        return [
            self._scored(ids, of_continuation, span)
            for ids, of_continuation, span in zip(
                question.answers, question.split(logprobs), question.spans, strict=True
            )
        ]

    @property
    def most_fed(self) -> int:
        """Most tokens of a continuation that are fed after a prompt: all but the last, which is only predicted."""
        if self._classes is not None:
            return 0
        if self._question is None:
            foil, _ = self._foil()
            return max(self._wanted, len(foil or ())) - 1
        return max(len(continuation) for continuation in self._question.continuations) - 1

    @property
    def _wanted(self) -> int:
        """Number of tokens to generate if no target is given."""
        target = self.request.target
        return target.generate.max_new_tokens if isinstance(target, GeneratedTarget) else 1

    def _generated(self) -> TokenIds:
        """The continuation generated by the model, shared by methods that one job compares."""
        job, ids = self.session.job, tuple(self.encoded.token_ids)

        def generate() -> list[int]:
            return greedy(self._access.model(), ids, self._wanted, meter=job.meter, report_progress=job.report_progress)

        generated = job.shared(("generated", ids, self._wanted), generate)
        if not generated:
            raise InvalidTarget.at(
                "/target", "The model ends here and says nothing.", hint="Give the target as a text."
            )
        return tuple(generated)

    def _among_labels(self, target: LabelsTarget) -> ScoreSpec:
        labels = [self._continuation(text, f"/target/labels/{i}") for i, text in enumerate(target.labels)]
        if len(set(labels)) < len(labels):
            raise InvalidTarget.at("/target/labels", "Two of the labels are the same tokens to this model.")
        if target.by == "first_token":
            _refuse_equal_beginnings(target.labels, labels)
        chosen = labels[target.labels.index(target.explain)]
        return ScoreSpec(self.request.score, chosen, labels=tuple(labels), first_token=target.by == "first_token")

    def _against_foil(self, target: TokenIds) -> tuple[ScoreSpec, bool]:
        """The score query for the target against the foil, if there is one, and whether the two are equal."""
        foil, foil_span = self._foil()
        target_span = self._span(target, self.request.target, "/target")
        question = ScoreSpec(self.request.score, target, foil=foil, target_span=target_span, foil_span=foil_span)
        same = foil is not None and len(set(zip(question.continuations, question.spans, strict=True))) == 1
        return question, same

    def _foil(self) -> tuple[TokenIds | None, TokenSpan | None]:
        """The foil and the span of it that is scored, if a foil is given."""
        if self.request.foil is None:
            return None, None
        ids = self._continuation(self.request.foil, "/foil")
        return ids, self._span(ids, self.request.foil, "/foil")

    def _span(self, ids: TokenIds, asked: Target | Foil | None, pointer: str) -> TokenSpan | None:
        """The span of the continuation that is scored; None for all of it."""
        if isinstance(asked, TokenIdsTarget):
            return asked.span
        if not isinstance(asked, TextTarget | GeneratedTarget) or (asked.span is None and asked.span_text is None):
            return None
        texts = self._access.encoder.texts_of(ids, after=self.encoded.token_ids)
        text = "".join(texts)
        if isinstance(asked, TextTarget) and text != asked.text:
            message = f"This model reads the text as {text!r}: a span of it cannot be told by its characters."
            raise InvalidTarget.at(
                f"{pointer}/text", message, hint='Give {"token_ids", "span"}: infer/tokenize has them.'
            )
        start, end = asked.span or (0, 0)
        if asked.span_text is not None:
            start = text.find(asked.span_text)
            end = start + len(asked.span_text)
        if start < 0 or end > len(text):
            field = "span" if asked.span else "span_text"
            message = f"The model says {text!r} ({len(text)} characters), which does not hold the span."
            raise InvalidTarget.at(f"{pointer}/{field}", message, hint="infer/generate tells what it says.")
        return tokens_of_characters(texts, start, end)

    def _continuation(self, continuation: TextTarget | TokenIdsTarget | ClassTarget | str, pointer: str) -> TokenIds:
        if isinstance(continuation, ClassTarget):
            raise InvalidTarget.at(
                pointer,
                f"{self._access.entry.name} is a causal language model and has no classes of its own.",
                hint='Give a text, or {"labels": ["…", "…"], "explain": "…"}.',
            )
        ids = self._access.continuation(self.encoded, continuation, pointer=pointer)
        check_fits(self._access, self.encoded, len(ids), pointer)
        return ids

    def _scored(self, ids: TokenIds, logprobs: Sequence[float], span: TokenSpan) -> ScoredText:
        if self._classes is not None:
            return scored_class(self._classes, ids[0], logprobs)
        texts = self._access.encoder.texts_of(ids, after=self.encoded.token_ids)
        tokens = [
            ScoredToken(text=text, id=token_id, logprob=logprob)
            for text, token_id, logprob in zip_longest(texts, ids, logprobs)
        ]
        return ScoredText(text="".join(texts), tokens=tokens, explained=None if span == (0, len(ids)) else span)


def _same_as_foil() -> InvalidTarget:
    return InvalidTarget.at("/foil", "Target and foil are the same tokens.", hint="Choose another foil.")


def _refuse_equal_beginnings(texts: Sequence[str], labels: Sequence[TokenIds]) -> None:
    """Checks that labels scored by their first tokens differ in them."""
    by_first: dict[int, list[str]] = {}
    for text, ids in zip(texts, labels, strict=True):
        by_first.setdefault(ids[0], []).append(text)
    clashing = next((same for same in by_first.values() if len(same) > 1), None)
    if clashing is not None:
        raise InvalidTarget.at(
            "/target/labels",
            f"The labels {', '.join(map(repr, clashing))} begin with the same token in this model's vocabulary.",
            hint='Score whole labels (by: "whole"), or choose labels that begin differently.',
        )
