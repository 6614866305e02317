"""Coalition game over a prompt's units, the basis of all perturbation methods."""

from collections.abc import Callable
from functools import cached_property, partial

import numpy as np

from explaind.contract.blocks.attribution import PerturbationRequest
from explaind.contract.blocks.attribution_result import Attribution, ReducedPrecision, Replacement
from explaind.contract.errors import NonFiniteScore, RequestTooLarge
from explaind_worker.attribution.query import AttributionQuery
from explaind_worker.attribution.unit_hierarchy import Place, places_of
from explaind_worker.engine.scoring.masker import BoolArray, Masker, replacement_for
from explaind_worker.engine.scoring.value_function import FloatArray, TokenScores, ValueFunction
from explaind_worker.session.fast_model import FastModel
from explaind_worker.session.prompt_limits import check_rows_fit
from explaind_worker.session.session import Session
from explaind_worker.session.value_function import fast_model_for, value_function

CHECKED = 16  # most coalitions evaluated in both precisions when fast products are requested
CHECKED_SHARE = 32  # and at most one in this many
MOST_DRAWN = 10_000_000  # most coalitions × units that a library may draw one by one


class CoalitionGame:
    """The game whose players are the request's units and whose value is the target's score.

    The constructor makes all checks that need no model weights; forwards begin with `play`. Scores are cached for the
    life of the game.

    Raises:
        InvalidRequest: prompt, units, target or baseline cannot be used with this model (the field is named).
    """

    def __init__(self, request: PerturbationRequest, session: Session) -> None:
        self._session = session
        self._inquiry = AttributionQuery(request, session)
        self.units = self._inquiry.units
        encoded, unit_map = self._inquiry.encoded, self._inquiry.unit_map
        self._replacement = replacement_for(request.baseline, session.model_access.encoder, encoded, unit_map)
        self._players = Masker(encoded, unit_map, self._replacement)
        self._fast = request.precision == "fast"
        self._sample: BoolArray = np.ones((0, len(self.units)), dtype=bool)  # coalitions evaluated in both precisions
        check_rows_fit(session.model_access, self._players.longest, self._inquiry.most_fed)

    def play(self, coalitions: BoolArray) -> FloatArray:
        """Scores [coalition, column] of coalitions [coalition, unit].

        Raises:
            NonFiniteScore: the model answered with NaN or infinity.
        """
        if self._fast and not len(self._sample):
            wanted = min(CHECKED, max(1, len(coalitions) // CHECKED_SHARE))
            self._sample = coalitions[np.linspace(0, len(coalitions) - 1, wanted).astype(int)]
        return self._columns(self._value(coalitions))

    def refuse_too_many(self, coalitions: int, pointer: str) -> None:
        """Refuses more coalitions than a library can draw in reasonable time; `pointer` is the field to name.

        Raises:
            RequestTooLarge: coalitions × units is more than `MOST_DRAWN`.
        """
        places = coalitions * len(self.units)
        if places > MOST_DRAWN:
            raise RequestTooLarge.at(
                pointer,
                f"{coalitions:,} coalitions of {len(self.units)} units are {places:,} places to draw; at most "
                f"{MOST_DRAWN:,} are possible.",
                hint="Lower n_samples, or explain by larger units (sentence, or segments of your own). explain/shap "
                "needs far fewer coalitions for the same error.",
            )

    def drawing(self, coalitions: int) -> Callable[[int], None]:
        """Callback for the number of coalitions a library has drawn; may raise, like any progress report."""
        report = self._session.job.report_progress
        return lambda drawn: report("drawing", min(drawn, coalitions), coalitions, "coalitions")

    @property
    def replacement(self) -> Replacement:
        """The baseline resolved for this model: what replaces an absent unit."""
        return self._replacement

    @property
    def places(self) -> list[Place]:
        """The message, sentence and word that contain each unit."""
        return places_of(self._inquiry.encoded, self.units)

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
        """The result: values [unit, column], and the number of coalitions that the algorithm requested."""
        empty, full = self.empty_and_full
        made = self._inquiry.attribution(
            values,
            base=float(empty.sum()),
            full=float(full.sum()),
            logprobs=self._ends.logprobs[1].tolist(),
            algorithm=algorithm,
            evaluations=evaluations,
            baseline=self._replacement,
            standard_errors=standard_errors,
        )
        if self._fast_model is None:
            return made
        verdict = self._verdict(self._fast_model)
        return made.model_copy(update={"fast": verdict, "notes": self._fast_model.notes(verdict)})

    def _verdict(self, faster: FastModel) -> ReducedPrecision:
        """Largest difference between fast and full-precision scores, on a sample."""
        if faster.way is None:
            return ReducedPrecision(products=faster.products, largest_difference=0.0, checked=0)
        sample = self._sample if len(self._sample) else self._empty_and_full
        with self._session.job.phase("checking the fast products"):
            fast, exact = self._columns(self._value(sample)), self._columns(self._value_of(None)(sample))
        difference = np.abs(fast.sum(axis=1) - exact.sum(axis=1)).max()
        return ReducedPrecision(products=faster.products, largest_difference=float(difference), checked=len(sample))

    @cached_property
    def _ends(self) -> TokenScores:
        """Token scores of the empty and of the full coalition."""
        with self._session.job.phase("scoring the target"):
            return self._value(self._empty_and_full)

    @property
    def _empty_and_full(self) -> BoolArray:
        return np.stack([np.zeros(len(self.units), dtype=bool), np.ones(len(self.units), dtype=bool)])

    @cached_property
    def _value(self) -> ValueFunction:
        faster = self._fast_model
        return self._value_of(None if faster is None or faster.way is None else faster)

    @cached_property
    def _fast_model(self) -> FastModel | None:
        """The evaluation with fast products, if requested; otherwise None."""
        return fast_model_for(self._session, self._players, self._continuations) if self._fast else None

    @property
    def _continuations(self) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(continuation) for continuation in self._inquiry.question().continuations)

    def _value_of(self, fast: FastModel | None) -> ValueFunction:
        """The value function; games of one job on the same prompt and continuations share it, with its cache."""
        encoded, unit_map, continuations = self._inquiry.encoded, self._inquiry.unit_map, self._continuations
        replacement = self._replacement.model_dump_json()
        way = None if fast is None else fast.way
        asked = (tuple(encoded.token_ids), tuple(unit_map.unit_of_token), replacement, continuations, way)
        make = partial(value_function, self._session, self._players, continuations, fast=fast)
        return self._session.job.shared(("value", asked), make)

    def _columns(self, scores: TokenScores) -> FloatArray:
        columns = self._inquiry.question().columns(scores)
        if not np.isfinite(columns).all():
            raise NonFiniteScore(
                f"{self._session.model_access.entry.name} answered with a score that is not a finite number.",
                hint='A label may be impossible under this score, or the dtype too narrow: try score "logprob" or '
                'dtype = "float32".',
            )
        return columns
