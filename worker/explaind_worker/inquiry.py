"""What an attribution asks a model: the request's prompt, units and target, settled against tokenizer and model."""

from collections.abc import Sequence

from explaind.contract.attribution import AttributionRequest
from explaind.contract.blocks import Attribution, ScoredText, ScoredToken, StandIn
from explaind.contract.errors import InvalidTarget
from explaind.contract.subject import GeneratedTarget, LabelsTarget, TextTarget, TokenIdsTarget
from explaind_worker.engine.generation import greedy
from explaind_worker.engine.question import Question, TokenIds
from explaind_worker.engine.units import units_of
from explaind_worker.engine.value import FloatArray
from explaind_worker.session import Session


class Inquiry:
    """The request's prompt cut into units, and the question that is asked of it.

    Making one checks all that can be checked without the model's weights.

    Raises:
        InvalidRequest: prompt, units or target cannot be used with this model (the field is named).
    """

    def __init__(self, request: AttributionRequest, session: Session) -> None:
        self.request = request
        self.session = session
        self.encoded = session.encode(request)
        self.unit_map = units_of(self.encoded, request.units)
        self.units = self.unit_map.units
        self._question = self._asked()

    def question(self) -> Question:
        """What is asked, with the model asked what it says where that is the target.

        Raises:
            InvalidTarget: the model says nothing, or target and foil are the same.
        """
        if self._question is None:
            request, session = self.request, self.session
            wanted = request.target.generate.max_new_tokens if isinstance(request.target, GeneratedTarget) else 1
            session.room(len(self.encoded), new_tokens=wanted)
            said = greedy(
                session.model(),
                self.encoded.token_ids,
                wanted,
                meter=session.meter,
                checkpoint=session.checkpoint,
            )
            if not said:
                raise InvalidTarget.at(
                    "/target", "The model ends here and says nothing.", hint="Give the target as a text."
                )
            self._question = self._against_foil(tuple(said), made_up=session.rehearsing)
        return self._question

    def attribution(
        self,
        values: FloatArray,
        *,
        base: float,
        full: float,
        logprobs: Sequence[float],
        algorithm: str,
        evaluations: int,
        absent: StandIn,
        standard_errors: FloatArray | None = None,
    ) -> Attribution:
        """The result: values [unit, column], and log-probabilities of the tokens of all continuations."""
        question = self.question()
        totals = values.sum(axis=1)
        texts = [
            self._scored(ids, of_continuation)
            for ids, of_continuation in zip(question.continuations, question.split(logprobs), strict=True)
        ]
        target = texts[question.continuations.index(question.target)]
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
            absent=absent,
            algorithm=algorithm,
            evaluations=evaluations,
        )

    def _asked(self) -> Question | None:
        """The question, where it can be told without the model; its length is checked here."""
        request, session = self.request, self.session
        target = request.target
        if target is None or isinstance(target, GeneratedTarget):
            wanted = 1 if target is None else target.generate.max_new_tokens
            session.check_fits(self.encoded, wanted, "/target/generate/max_new_tokens" if target else "/prompt")
            if request.foil is not None:
                self._continuation(request.foil, "/foil")
            return None
        if isinstance(target, LabelsTarget):
            labels = [self._continuation(text, f"/target/labels/{i}") for i, text in enumerate(target.labels)]
            if len(set(labels)) < len(labels):
                raise InvalidTarget.at("/target/labels", "Two of the labels are the same tokens to this model.")
            chosen = labels[target.labels.index(target.explain)]
            return Question(request.score, chosen, labels=tuple(labels))
        return self._against_foil(self._continuation(target, "/target"))

    def _against_foil(self, target: TokenIds, *, made_up: bool = False) -> Question:
        foil = None
        if self.request.foil is not None:
            foil = self._continuation(self.request.foil, "/foil")
            if foil == target and not made_up:
                raise InvalidTarget.at("/foil", "Target and foil are the same tokens.", hint="Choose another foil.")
        return Question(self.request.score, target, foil=foil)

    def _continuation(self, continuation: TextTarget | TokenIdsTarget | str, pointer: str) -> TokenIds:
        ids = self.session.encoder.continuation(self.encoded, continuation, pointer=pointer)
        self.session.check_fits(self.encoded, len(ids), pointer)
        return ids

    def _scored(self, ids: TokenIds, logprobs: Sequence[float]) -> ScoredText:
        texts = self.session.encoder.texts_of(ids, after=self.encoded.token_ids)
        tokens = [
            ScoredToken(text=text, id=token_id, logprob=logprob)
            for text, token_id, logprob in zip(texts, ids, logprobs, strict=True)
        ]
        return ScoredText(text="".join(texts), tokens=tokens)
