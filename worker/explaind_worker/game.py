"""A prompt's units as a coalition game: what every attribution by perturbation stands on."""

from collections.abc import Callable
from functools import cached_property

import numpy as np

from explaind.contract.attribution import PerturbationRequest
from explaind.contract.blocks import Attribution
from explaind.contract.errors import NonFiniteScore
from explaind_worker.engine.players import BoolArray, Players, stand_in_for
from explaind_worker.engine.value import FloatArray, TokenScores
from explaind_worker.inquiry import Inquiry
from explaind_worker.session import Session
from explaind_worker.valuing import value_function


class Game:
    """The request's units as players and the score of its target as the game's value.

    Making one checks all that can be checked without the model's weights; `play` is where forwards begin. What was
    played once is known for the life of the game and costs nothing again.

    Raises:
        InvalidRequest: prompt, units, target or stand-in cannot be used with this model (the field is named).
    """

    def __init__(self, request: PerturbationRequest, session: Session) -> None:
        self._session = session
        self._inquiry = Inquiry(request, session)
        self.units = self._inquiry.units
        encoded, unit_map = self._inquiry.encoded, self._inquiry.unit_map
        self._stand_in = stand_in_for(request.absent, session.encoder, encoded, unit_map)
        self._players = Players(encoded, unit_map, self._stand_in)
        session.check_rows_fit(self._players.longest)

    def play(self, coalitions: BoolArray) -> FloatArray:
        """Scores [coalition, column] of coalitions [coalition, unit].

        Raises:
            NonFiniteScore: the model answered with NaN or infinity.
        """
        return self._columns(self._value(coalitions))

    @property
    def empty_and_full(self) -> tuple[FloatArray, FloatArray]:
        """Scores [column] with every unit absent and with every unit present."""
        scores = self._columns(self._ends)
        return scores[0], scores[1]

    def attribution(
        self,
        values: FloatArray,
        *,
        algorithm: str,
        evaluations: int,
        standard_errors: FloatArray | None = None,
    ) -> Attribution:
        """The result: values [unit, column], and how many coalitions the algorithm asked for."""
        empty, full = self.empty_and_full
        return self._inquiry.attribution(
            values,
            base=float(empty.sum()),
            full=float(full.sum()),
            logprobs=self._ends.logprobs[1].tolist(),
            algorithm=algorithm,
            evaluations=evaluations,
            absent=self._stand_in,
            standard_errors=standard_errors,
        )

    @cached_property
    def _ends(self) -> TokenScores:
        """Token scores of the empty and of the full coalition."""
        return self._value(np.stack([np.zeros(len(self.units), dtype=bool), np.ones(len(self.units), dtype=bool)]))

    @cached_property
    def _value(self) -> Callable[[BoolArray], TokenScores]:
        return value_function(self._session, self._players, self._inquiry.question().continuations)

    def _columns(self, scores: TokenScores) -> FloatArray:
        columns = self._inquiry.question().columns(scores)
        if not np.isfinite(columns).all():
            raise NonFiniteScore(
                f"{self._session.entry.name} answered with a score that is not a finite number.",
                hint='A label may be impossible under this score, or the dtype too narrow: try score "logprob" or '
                'dtype = "float32".',
            )
        return columns
