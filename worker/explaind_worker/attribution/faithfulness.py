"""Faithfulness of an attribution: the score while units are removed or inserted in order of their values."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Protocol

import numpy as np
from pydantic import BaseModel

from explaind.contract.blocks.attribution import AttributionRequest, PerturbationRequest
from explaind.contract.blocks.attribution_result import Attribution, Curve, Faithfulness, RandomBaseline, Replacement
from explaind.contract.blocks.faithfulness import SHARES_PERCENT, FaithfulnessOptions, removal_counts, share_counts
from explaind.contract.blocks.units import Unit
from explaind.contract.errors import NoBaselineToken
from explaind.contract.request import ModelRequest
from explaind_worker.attribution.coalition_game import CoalitionGame
from explaind_worker.engine.scoring.masker import BoolArray
from explaind_worker.engine.scoring.value_function import FloatArray
from explaind_worker.session.session import Session
from explaind_worker.statistics.deletion_curves import Removal, areas, descending

Implementation = Callable[[Any, Session], BaseModel]


def with_faithfulness(run: Implementation) -> Implementation:
    """Wraps the method `run` so that its Attribution includes faithfulness if requested."""

    @wraps(run)
    def checked(params: AttributionRequest, session: Session) -> BaseModel:
        if not params.faithfulness:
            return run(params, session)
        options = FaithfulnessOptions() if params.faithfulness is True else params.faithfulness
        game = removal_game(params, options, session)  # refuses invalid requests before the weights are loaded
        attribution = run(params, session)
        assert isinstance(attribution, Attribution)  # noqa: S101 - only attribution methods are wrapped
        with session.job.phase("measuring faithfulness"):
            found = faithfulness_of(attribution.values, game, options)
        return attribution.model_copy(update={"faithfulness": found})

    return checked


class Playable(Protocol):
    """A game: its units, what replaces an absent one, and scores [coalition, column] of coalitions."""

    @property
    def units(self) -> Sequence[Unit]: ...
    @property
    def replacement(self) -> Replacement: ...
    def play(self, coalitions: BoolArray) -> FloatArray: ...


def removal_game(request: AttributionRequest, options: FaithfulnessOptions, session: Session) -> CoalitionGame:
    """The game in which a request's attribution is checked against the model.

    Raises:
        InvalidRequest: prompt, units, target or baseline cannot be used with this model (the field is named).
    """
    try:
        return CoalitionGame(_perturbing(request, options), session)
    except NoBaselineToken as error:
        if options.baseline is None and isinstance(request, PerturbationRequest):
            raise
        raise NoBaselineToken.at("/faithfulness/baseline", error.detail, hint=error.hint) from error


def faithfulness_of(values: Sequence[float], game: Playable, options: FaithfulnessOptions) -> Faithfulness:
    """Faithfulness of `values` [unit]: scores as units are removed and inserted in their order, and in random orders.

    All coalitions are evaluated together; those that the method has already evaluated cost nothing.

    Raises:
        NonFiniteScore: the model answered with NaN or infinity.
    """
    units = len(game.units)
    counts = removal_counts(units, options.steps)
    removal = Removal(descending(np.asarray(values)), counts, options.random_orders, options.seed)
    deletion, insertion = removal.curves(game.play(removal.coalitions).sum(axis=1))
    full = deletion[:, :1]
    at = [counts.index(count) for count in share_counts(units)]
    comprehensiveness, sufficiency = full - deletion[:, at], full - insertion[:, at]  # [order, share]
    x = np.asarray(counts) / units
    return Faithfulness(
        shares=[percent / 100 for percent in SHARES_PERCENT],
        comprehensiveness=comprehensiveness[0].tolist(),
        sufficiency=sufficiency[0].tolist(),
        deletion=_curve(x, deletion[0]),
        insertion=_curve(x, insertion[0]),
        random_deletion=_curve(x, deletion[1:].mean(axis=0)),
        random_insertion=_curve(x, insertion[1:].mean(axis=0)),
        comprehensiveness_mean=_against_random(comprehensiveness.mean(axis=1)),
        sufficiency_mean=_against_random(sufficiency.mean(axis=1), lower=True),
        deletion_area=_against_random(areas(x, deletion), lower=True),
        insertion_area=_against_random(areas(x, insertion)),
        random_orders=options.random_orders,
        baseline=game.replacement,
        evaluations=len(removal.coalitions),
    )


def _perturbing(request: AttributionRequest, options: FaithfulnessOptions) -> PerturbationRequest:
    """The request as a perturbation request, which it may not be itself, without the job fields."""
    kept = PerturbationRequest.model_fields.keys() - ModelRequest.job_fields
    fields = {name: getattr(request, name) for name in kept if name in type(request).model_fields}
    baseline = fields.pop("baseline", None)
    if options.baseline is not None:
        fields["baseline"] = options.baseline
    elif baseline is not None and baseline != "zero":  # a baseline of embeddings that belongs to no token
        fields["baseline"] = baseline
    return PerturbationRequest(**fields)


def _curve(x: FloatArray, y: FloatArray) -> Curve:
    return Curve(x=x.tolist(), y=y.tolist(), area=float(areas(x, y[None])[0]))


def _against_random(numbers: FloatArray, *, lower: bool = False) -> RandomBaseline:
    """The first of `numbers` [order] compared with the others; `lower` if smaller is better."""
    own, random = numbers[0], numbers[1:]
    mean, deviation = float(random.mean()), float(random.std(ddof=1))
    # Ignores differences from rounding: both come from curves in nats, summed in float64.
    alike = 1e-12 * max(1.0, float(np.abs(numbers).max()))
    better = (random - own) if lower else (own - random)
    return RandomBaseline(
        value=float(own),
        random_mean=mean,
        random_deviation=deviation,
        z=None if deviation <= alike else float(better.mean()) / deviation,
        beats=float((better > alike).mean() + 0.5 * (np.abs(better) <= alike).mean()),
    )
