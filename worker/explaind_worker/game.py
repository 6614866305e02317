"""A prompt's units as a coalition game: what every attribution by perturbation stands on."""

import numpy as np

from explaind.contract.attribution import PerturbationRequest
from explaind.contract.blocks import Attribution, ScoredText, ScoredToken
from explaind.contract.errors import InvalidTarget, NonFiniteScore
from explaind.contract.subject import GeneratedTarget, LabelsTarget, TextTarget, TokenIdsTarget
from explaind_worker.engine.generation import greedy
from explaind_worker.engine.players import BoolArray, Players, stand_in_for
from explaind_worker.engine.question import Question, TokenIds
from explaind_worker.engine.units import units_of
from explaind_worker.engine.value import FloatArray, ValueFunction
from explaind_worker.session import Session


class Game:
    """The request's units as players and the score of its target as the game's value.

    Making one checks all that can be checked without the model's weights; `play` is where forwards begin.

    Raises:
        InvalidRequest: prompt, units, target or stand-in cannot be used with this model (the field is named).
    """

    def __init__(self, request: PerturbationRequest, session: Session) -> None:
        self._request = request
        self._session = session
        self._encoded = session.encode(request)
        unit_map = units_of(self._encoded, request.units)
        self.units = unit_map.units
        self._stand_in = stand_in_for(request.absent, session.encoder, self._encoded, unit_map)
        self._players = Players(self._encoded, unit_map, self._stand_in)
        self._question = self._asked()
        self._full_logprobs: list[float] = []  # of every continuation's tokens, with everything present

    def play(self, coalitions: BoolArray) -> FloatArray:
        """Scores [coalition, column] of coalitions [coalition, unit], the last of which is the full one.

        Raises:
            NonFiniteScore: the model answered with NaN or infinity.
        """
        session = self._session
        question = self._settled()
        target = max(len(c) for c in question.continuations)
        value = ValueFunction(
            session.model(),
            self._players,
            question.continuations,
            meter=session.meter,
            checkpoint=session.checkpoint,
            limits=session.room(self._players.longest + target, reads=target),
        )
        scores = value(coalitions)
        self._full_logprobs = scores.logprobs[-1].tolist()
        columns = question.columns(scores)
        if not np.isfinite(columns).all():
            raise NonFiniteScore(
                f"{session.entry.name} answered with a score that is not a finite number.",
                hint='A label may be impossible under this score, or the dtype too narrow: try score "logprob" or '
                'dtype = "float32".',
            )
        return columns

    def attribution(
        self,
        values: FloatArray,
        scores: FloatArray,
        *,
        algorithm: str,
        standard_errors: FloatArray | None = None,
    ) -> Attribution:
        """The result: values [unit, column] and the scores [coalition, column], empty first and full last."""
        question = self._settled()
        base, full = float(scores[0].sum()), float(scores[-1].sum())
        totals = values.sum(axis=1)
        texts = [
            self._scored(ids, logprobs)
            for ids, logprobs in zip(question.continuations, question.split(self._full_logprobs), strict=True)
        ]
        target = texts[question.continuations.index(question.target)]
        return Attribution(
            prompt=self._encoded.text,
            units=list(self.units),
            values=totals.tolist(),
            values_by_target=values.tolist(),
            standard_errors=None if standard_errors is None else standard_errors.tolist(),
            base_value=base,
            full_value=full,
            completeness_gap=full - base - float(totals.sum()),
            score=self._request.score,
            target=target,
            foil=texts[1] if question.foil is not None else None,
            labels=texts if question.labels is not None else None,
            absent=self._stand_in,
            algorithm=algorithm,
            evaluations=len(scores),
        )

    def _asked(self) -> Question | None:
        """The question, where it can be told without the model; its length is checked here."""
        request, session = self._request, self._session
        target = request.target
        if target is None or isinstance(target, GeneratedTarget):
            wanted = 1 if target is None else target.generate.max_new_tokens
            session.check_fits(self._encoded, wanted, "/target/generate/max_new_tokens" if target else "/prompt")
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

    def _settled(self) -> Question:
        """The question, with the model asked what it says where that is the target."""
        if self._question is None:
            request, session = self._request, self._session
            wanted = request.target.generate.max_new_tokens if isinstance(request.target, GeneratedTarget) else 1
            session.room(len(self._encoded), new_tokens=wanted)
            said = greedy(
                session.model(),
                self._encoded.token_ids,
                wanted,
                meter=session.meter,
                checkpoint=session.checkpoint,
            )
            if not said:
                raise InvalidTarget.at(
                    "/target", "The model ends here and says nothing.", hint="Give the target as a text."
                )
            self._question = self._against_foil(tuple(said))
        return self._question

    def _against_foil(self, target: TokenIds) -> Question:
        foil = None
        if self._request.foil is not None:
            foil = self._continuation(self._request.foil, "/foil")
            if foil == target:
                raise InvalidTarget.at("/foil", "Target and foil are the same tokens.", hint="Choose another foil.")
        return Question(self._request.score, target, foil=foil)

    def _continuation(self, continuation: TextTarget | TokenIdsTarget | str, pointer: str) -> TokenIds:
        ids = self._session.encoder.continuation(self._encoded, continuation, pointer=pointer)
        self._session.check_fits(self._encoded, len(ids), pointer)
        return ids

    def _scored(self, ids: TokenIds, logprobs: list[float]) -> ScoredText:
        texts = self._session.encoder.texts_of(ids, after=self._encoded.token_ids)
        tokens = [
            ScoredToken(text=text, id=token_id, logprob=logprob)
            for text, token_id, logprob in zip(texts, ids, logprobs, strict=True)
        ]
        return ScoredText(text="".join(texts), tokens=tokens)
